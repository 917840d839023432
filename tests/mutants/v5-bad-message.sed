# what: a message that became undeliverable leaves the old one working
# file: devices/pci/msix.c
# case: V5
# check: V5
s/return e \&\& deliverable(m, e) \&\& in_step(e)/return e \&\& m->enabled \&\& !m->maskall \&\& m->bus_master \&\& !e->masked/
