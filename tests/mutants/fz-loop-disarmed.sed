# what: a poll that was disarmed is heard of again
# file: vmm/core/loop.c
# fuzz: loop
/^void loop_poll_disarm/,/^}/s/s->want = 0;//
