# what: the window writes more bytes than it was told
# file: devices/virtio/virtio_pci.c
# fuzz: pci
/^static void window_write/,/^}/s/cap.cap.offset, cap.cap.length, val/cap.cap.offset, 4, val/
