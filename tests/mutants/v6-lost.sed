# what: an attach throws away what waited
# file: vmm/core/irqfd.c
# case: V6
s/^\terr = gsi_hold(f->space, gsi);/\t(void)irqfd_take(f);\n&/
