# what: InterruptStatus survives a reset
# file: devices/virtio/virtio_mmio.c
# case: V11
# check: V11
/^static void mmio_reset/,/^}/s/atomic_store(&t->status_bits, 0);//
