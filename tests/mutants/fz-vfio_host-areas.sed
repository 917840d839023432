# what: an area behind the end of the kernel's answer is believed
# file: devices/vfio/hostdev.c
# fuzz: vfio_host
s/(const char \*)&s->areas\[i + 1\] >/(const char *)\&s->areas[i] >/
