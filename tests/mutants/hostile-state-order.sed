# what: DRIVER_OK needs nothing before it
# file: devices/virtio/vdev.c
# case: state-driver-ok-at-once
# on: mmio
/if (!(want & order\[i\]))/{n;s/break/continue/}
