# what: an access of an odd width reaches the bus
# file: arch/arm64/exit.c
# fuzz: kvm_exit
s/if (len != 1 && len != 2 && len != 4 && len != 8)/if (len > 8)/
