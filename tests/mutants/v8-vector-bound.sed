# what: one vector too many can be bound
# file: devices/pci/msix.c
# case: V8
s/if (vector >= m->nvec)/if (vector > m->nvec)/
