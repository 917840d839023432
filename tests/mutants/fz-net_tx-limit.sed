# what: a frame that has passed is not paid for
# file: devices/virtio/net_user.c
# fuzz: net_tx
/net_passed(&p->net->limit\[NET_TX\]/d
