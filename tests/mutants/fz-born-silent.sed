# what: a device that cannot be started does not say so
# file: devices/virtio/vdev.c
# fuzz: born
/^static void fault_start/,/^}/s/vdev_lost(v);//
