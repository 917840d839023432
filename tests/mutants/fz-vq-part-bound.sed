# what: a part may reach beyond its region
# file: devices/virtio/vq.c
# fuzz: vq
/^static bool add_part/,/^}/s/gmem_ptr(q->mem, d->addr, d->len)/gmem_ptr(q->mem, d->addr, 1)/
