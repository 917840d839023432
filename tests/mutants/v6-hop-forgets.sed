# what: a signal that waits is lost when the loop takes over again
# file: vmm/core/irqfd.c
# case: V8
/^static int attach_hop/,/^}/s/	count_replay(f);/	(void)irqfd_take(f);/
