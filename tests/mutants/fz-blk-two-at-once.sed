# what: flushes do not wait for one another
# file: devices/virtio/blk.c
# fuzz: blk
/^static void go_on/,/^}/s/b->slow && b->slow != req/false/
