# what: the mask of an entry is ignored
# file: devices/pci/msix.c
# case: V5
# check: V5
s/ \&\& !e->masked \&\&/ \&\&/
