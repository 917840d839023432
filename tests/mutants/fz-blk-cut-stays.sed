# what: the part that an operation took only the beginning of stays cut
# file: devices/virtio/blk_req.c
# fuzz: blk
/^bool blk_req_advance/,/^}/s/iov_len += req->cut;/iov_len += 0;/
