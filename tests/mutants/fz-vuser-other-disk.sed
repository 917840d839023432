# what: whatever disk is at the path is taken
# file: devices/virtio/vuser.c
# fuzz: vuser
/^static const char \*blk_lacks/,/^}/s/memcmp(.*) ?/false ?/
