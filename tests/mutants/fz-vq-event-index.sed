# what: the event index is off by one
# file: devices/virtio/vq.c
# fuzz: vq
/^bool vq_wants_irq/,/^}/s/q->next_used, old)/q->next_used, (uint16_t)(old + 1))/
