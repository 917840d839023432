# what: a kick has requests looked at while the limits' timer runs
# file: devices/virtio/blk.c
# fuzz: blk
/^static void serve(/,/^}/s/ || b->waiting//
