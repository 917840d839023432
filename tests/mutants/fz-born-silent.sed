# what: a device that cannot be started does not say so
# file: devices/virtio/vdev.c
# fuzz: born
/vdev_fault(v, -1, "cannot be started/d
