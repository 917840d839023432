# what: a descriptor's flags are read again after they were checked
# file: devices/virtio/vq.c
# fuzz: vq_toctou
/^static bool walk_table/,/^}/s/if (!(d.flags & VRING_DESC_F_NEXT))/if (!(((const struct vring_desc *)table)[i].flags \& VRING_DESC_F_NEXT))/
