# what: a network card that cannot be made keeps its tap
# file: devices/virtio/net.c
# fuzz: born
/^static void net_free/,/^}/s/tap_close(n->tap);/if (n->have_vdev) tap_close(n->tap);/
