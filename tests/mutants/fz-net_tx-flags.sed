# what: flags that are not the driver's to set reach the host
# file: devices/virtio/net_user.c
# fuzz: net_tx
/^static bool tx_headers_ok/,/^}/s/h.flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;//
