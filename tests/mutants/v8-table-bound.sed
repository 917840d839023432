# what: the end of the table is not looked at
# file: devices/pci/msix.c
# case: V8
s/is_aligned(off, len) \&\& range_fits(off, len, size)/is_aligned(off, len) \&\& size/
