# what: two BARs may share their last bytes
# file: devices/pci/host.c
# fuzz: bar
/^static int map_locked/,/^}/s/ranges_overlap(gpa, bar->size/ranges_overlap(gpa, bar->size - 16/
