# what: a call eventfd keeps its count over a reset
# file: devices/virtio/virtio_mmio.c
# case: V11
# check: V11
/^static void mmio_reset/,/^}/s/fd_drain(mq->call_fd);/;/
