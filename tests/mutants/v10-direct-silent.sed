# what: an interrupt that passes us by has no reason
# file: devices/virtio/virtio_mmio.c
# case: V10
/^static uint32_t interrupt_status/,/^}/s/bits |= VIRTIO_MMIO_INT_VRING;/bits |= 0;/
