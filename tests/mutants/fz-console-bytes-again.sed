# what: a part that was written half is written from its start again
# file: devices/virtio/console.c
# fuzz: console
/^static bool write_held/,/^}/s/c->out_off += n;/c->out_off = n;/
