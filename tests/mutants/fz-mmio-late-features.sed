# what: features can be taken back after FEATURES_OK
# file: devices/virtio/vdev.c
# fuzz: mmio
/^void vdev_ack_features/,/^}/s/ && !(v->status & VIRTIO_CONFIG_S_FEATURES_OK)//
