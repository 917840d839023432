# what: a message carries the GSI as its device id
# file: vmm/core/gsi.c
# case: V2
# check: V2
s/\.devid = s->entries\[gsi\]\.devid/.devid = gsi/
