# what: configuration space is all writable
# file: devices/pci/dev.c
# case: pci-read-only
# on: pci
s/val = (old & ~mask) | (val & mask);/(void)old, (void)mask;/
