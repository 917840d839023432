# what: a list that was begun outlives a reset
# file: devices/virtio/balloon.c
# case: balloon-reset-in-flight
# on: mmio
/^static void balloon_reset/,/^}/s/b->lists\[q\].taken = false;/(void)q;/
