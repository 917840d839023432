# what: a packet that was cut is delivered
# file: devices/virtio/net_user.c
# fuzz: net_rx
/^static void rx_done/,/^}/s/(unsigned)res > rx->room/(unsigned)res > rx->room + 1/
