# what: an area behind the end of the kernel's answer is believed
# file: devices/vfio/hostdev.c
# fuzz: vfio_host
s/ && range_fits(off, sizeof(a), len)//
