# what: a device that goes leaves its routes
# file: devices/pci/msix.c
# case: V7
# check: V7
/^void msix_free/,/^}/s/msi_route_free(m->entries\[i\]\.route);/(void)m;/
