# what: accesses need not be aligned
# file: devices/pci/msix.c
# case: V8
s/(len == 4 || len == 8) \&\& is_aligned(off, len)/(len == 4 || len == 8)/
