# what: the upper half of a 64-bit write is lost
# file: devices/pci/msix.c
# fuzz: msix
/^void msix_table_write/,/^}/s/entry_write(e, word + 1, .*;/;/
