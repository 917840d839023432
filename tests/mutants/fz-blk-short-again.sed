# what: what goes on after a short transfer begins at the same bytes of the part again
# file: devices/virtio/blk_req.c
# fuzz: blk
/^bool blk_req_advance/,/^}/s/(char \*)req->iov->iov_base + done/(char *)req->iov->iov_base/
