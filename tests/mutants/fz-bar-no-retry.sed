# what: a BAR that was refused does not take the place that became free
# file: devices/pci/dev.c
# fuzz: bar
/^void pci_dev_cfg_write/,/^}/s/if (left)/if (0)/
