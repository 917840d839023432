# what: messages carry another device id
# file: vmm/core/gsi.c
# case: gic-command-0
# on: pci
s/\.devid = s->entries\[gsi\]\.devid/.devid = s->entries[gsi].devid + 1/
