# what: the guest gets more than its credit
# file: devices/virtio/vsock_uds.c
# fuzz: vsock_uds
/^static uint32_t data_of/,/^}/s/len = len < credit ? len : credit;/(void)credit;/
