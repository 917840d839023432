# what: segmentation of a protocol that the frame is not
# file: devices/virtio/net_user.c
# fuzz: net_tx
/^static bool gso_ok/,/^}/s/return ip4 && /return /
