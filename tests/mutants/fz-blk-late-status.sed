# what: what ends while a reset waits still has its status written
# file: devices/virtio/blk.c
# fuzz: blk
/^static void ended/,/^}/s/give_back(req); .*/finish(req, VIRTIO_BLK_S_OK);/
