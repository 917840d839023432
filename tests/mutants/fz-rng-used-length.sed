# what: more bytes are claimed than were given
# file: devices/virtio/rng.c
# fuzz: rng
s/vq_push(ring, c.head, len);/vq_push(ring, c.head, c.len_in);/
