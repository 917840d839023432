# what: what waits for its turn begins in the wrong order
# file: devices/virtio/blk.c
# fuzz: blk
/^static void go_on/,/^}/{s/req->next = NULL/req->next = b->slow_first/;s/\*b->slow_end = req;/b->slow_first = req;/;/b->slow_end = &req->next/d;}
