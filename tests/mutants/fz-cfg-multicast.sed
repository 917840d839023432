# what: a multicast address is taken
# file: vmm/app/values.c
# fuzz: cfg
s/if (mac\[0\] & 1)/if (0)/
