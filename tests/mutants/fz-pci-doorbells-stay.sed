# what: doorbells stay where BAR 0 was
# file: devices/virtio/virtio_pci.c
# fuzz: pci
/^static void place_doorbells/,/^}/s/if (at != old)/if (at != old \&\& (!at || !old))/
