# what: the guest's credit is taken for what is left of it
# file: devices/virtio/vsock_uds.c
# fuzz: vsock_uds
/^static uint32_t credit_of/,/^}/s/c->guest_alloc - under_way/c->guest_alloc/
