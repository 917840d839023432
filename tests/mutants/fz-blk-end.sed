# what: a request may reach beyond the disk's end
# file: devices/virtio/blk_req.c
# fuzz: blk
/^static bool range_ok/,/^}/s/range_fits(req->off, req->left,/range_fits(req->off, 0,/
