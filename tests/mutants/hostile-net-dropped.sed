# what: a packet that is dropped is not given back
# file: devices/virtio/net_user.c
# case: net-frame-13
# on: mmio
/^static void tx_send/,/^}/s/tx_complete(p, c->head, false);/(void)0;/
