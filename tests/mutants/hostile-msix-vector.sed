# what: a vector behind the last is taken
# file: devices/pci/msix.c
# case: msix-vector-over
# on: pci
s/if (vector >= m->nvec)/if (vector >= 0x1000)/
