# what: no limit counts the bytes that a write-zeroes may have to write
# file: devices/virtio/blk.c
# fuzz: blk
/^static uint64_t due_in/,/^}/s/if (!wait && /&req->type != VIRTIO_BLK_T_WRITE_ZEROES \&\& /
