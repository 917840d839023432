# what: features that were not offered are taken
# file: devices/virtio/vdev.c
# case: mmio-features-not-offered
# on: mmio
s/return !(v->acked \& ~v->offered) \&\& /return /
