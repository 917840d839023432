# what: doorbells outlive a reset
# file: devices/virtio/virtio_mmio.c
# fuzz: mmio
/^static void mmio_reset/,/^}/s/doorbell_detach(&mq->bell);//
