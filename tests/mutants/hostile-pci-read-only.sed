# what: ids and class can be written
# file: devices/pci/dev.c
# case: pci-read-only
# on: pci
s/^\tval = (old & ~mask) | (val & mask);/\tif (off \& ~8u)\n\t&/
