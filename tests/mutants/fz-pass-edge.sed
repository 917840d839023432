# what: an access across the edge of the MSI-X table reaches the device's own
# file: devices/vfio/pass_bar.c
# fuzz: pass
s/ranges_overlap(off, len, s.off, s.size)/(off >= s.off \&\& off - s.off < s.size)/
