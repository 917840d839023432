# what: with limits the first queue has all of them
# file: devices/virtio/blk.c
# fuzz: blk
/^static void serve(/,/^}/s/b->turn = .*/b->turn = 0;/
