# what: an access of eight bytes is more than we know
# file: arch/arm64/exit.c
# case: width-hole-reads
# on: mmio
s/ && len != 8//
