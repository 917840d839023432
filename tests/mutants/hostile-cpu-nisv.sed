# what: accesses without syndrome are not asked for
# file: arch/arm64/vcpu.c
# case: cpu-ldp-x
# on: mmio
/^static void report_undecodable/,/^}/s/(void)ioctl(.*/(void)cap, (void)h;/
