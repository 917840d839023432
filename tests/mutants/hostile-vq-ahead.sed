# what: an available index that jumps is believed
# file: devices/virtio/vq.c
# case: vq-index-over
# on: mmio
s/if (ahead > q->size || out >= q->size)/if (out >= q->size)/
