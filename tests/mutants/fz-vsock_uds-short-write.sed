# what: what follows a short write begins at the wrong place
# file: devices/virtio/vsock_conn.c
# fuzz: vsock_uds
/^static void written/,/^}/s/(c->tx_at + n) % UDS_BUFFER/c->tx_at/
