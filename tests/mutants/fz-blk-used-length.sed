# what: the whole writable part is told as written, whatever was
# file: devices/virtio/blk_req.c
# fuzz: blk
/^uint32_t blk_req_written/,/^}/s/status == VIRTIO_BLK_S_OK && to_guest(req)/status == VIRTIO_BLK_S_OK/
