# what: the upper bits of a page's number are lost
# file: devices/virtio/balloon.c
# fuzz: balloon
s/(gpa_t)pfn << VIRTIO_BALLOON_PFN_SHIFT/(gpa_t)(pfn << VIRTIO_BALLOON_PFN_SHIFT)/
