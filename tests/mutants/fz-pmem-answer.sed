# what: an answer is as long as it is, whatever room there is
# file: devices/virtio/pmem.c
# fuzz: pmem
s/uint32_t want = c->len_in < sizeof(resp) ? c->len_in : (uint32_t)sizeof(resp), done = 0;/uint32_t want = (uint32_t)sizeof(resp), done = 0;/
