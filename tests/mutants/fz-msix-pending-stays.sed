# what: what was signalled while MSI-X was off comes when it is on
# file: devices/pci/msix.c
# fuzz: msix
/^void msix_ctrl_write/,/^}/s/forget_signal(m, i);/;/
