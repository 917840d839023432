# what: the function mask is ignored
# file: devices/pci/msix.c
# case: V5
# check: V5
s/return m->enabled \&\& !m->maskall \&\&/return m->enabled \&\&/
