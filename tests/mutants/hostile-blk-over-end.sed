# what: only where a request begins is held against the disk's end
# file: devices/virtio/blk_req.c
# case: blk-write-over-end
# on: mmio
s/range_fits(req->off, req->left, /range_fits(req->off, 0, /
