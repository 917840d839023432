# what: the initrd ends a byte too early
# file: arch/arm64/fdt.c
# fuzz: fdt
s/d->initrd + d->initrd_size);/d->initrd + d->initrd_size - 1);/
