# what: a packet is taken from whoever it says that it is
# file: devices/virtio/vsock_uds.c
# case: vsock-cid-foreign
# on: pci
s/le64toh(h->src_cid) != d->cid || //
