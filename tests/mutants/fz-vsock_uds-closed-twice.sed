# what: a connection's descriptor is still thought open when it is being closed
# file: devices/virtio/vsock_conn.c
# fuzz: vsock_uds
/^static void begin_close/,/^}/s/		c->fd = -1;/		c->ticks = 0;/
