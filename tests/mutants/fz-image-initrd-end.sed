# what: an initrd may reach beyond what is usable
# file: arch/arm64/place.c
# fuzz: image
s/if (n->initrd_size && !range_fits(initrd, n->initrd_size, n->ram_size))/if (0)/
