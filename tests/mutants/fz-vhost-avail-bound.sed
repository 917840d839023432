# what: an available ring may reach beyond its region
# file: devices/vhost/vhost.c
# fuzz: vhost
/^static int ring_addr/,/^}/s/r->avail, 6 + 2ul \* r->size/r->avail, 6/
