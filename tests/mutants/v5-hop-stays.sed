# what: the loop goes on signalling a masked vector's messages
# file: vmm/core/irqfd.c
# case: V8
/^static void detach_hop/,/^}/s/	loop_poll_disarm(&f->poll);//
