# what: each vector stages and commits for itself
# file: devices/pci/msix.c
# case: V4
s/(void)msi_route_stage(e->route, e->staged_addr, e->staged_data);/&\n\t(void)gsi_commit(m->space);/
