# what: a chain that is out can be taken again
# file: devices/virtio/vq.c
# fuzz: vq
/^int vq_pop/,/^}/s/ || head_taken(q, head)//
