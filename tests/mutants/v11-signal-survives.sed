# what: a late signal of the last life comes with the next binding
# file: devices/pci/msix.c
# case: V11
/^uint16_t msix_bind/,/^}/s/forget_signal(m, source);/(void)m;/
