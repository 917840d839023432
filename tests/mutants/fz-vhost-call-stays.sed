# what: CALL outlives a reset
# file: devices/vhost/vhost.c
# fuzz: vhost
/^void vh_ring_stop/,/^}/s/set_file(d, VHOST_SET_VRING_CALL.*;/;/
