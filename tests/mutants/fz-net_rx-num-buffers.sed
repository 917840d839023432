# what: num_buffers is always one
# file: devices/virtio/net_user.c
# fuzz: net_rx
/^static void rx_deliver/,/^}/s/rx_set_num_buffers(rx, (uint16_t)n)/rx_set_num_buffers(rx, 1)/
