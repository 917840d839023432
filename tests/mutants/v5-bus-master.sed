# what: a function that is no bus master sends
# file: devices/pci/msix.c
# case: V5
# check: V5
s/ \&\& m->bus_master \&\&/ \&\&/
