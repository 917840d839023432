# what: a detach that only thinks so
# file: vmm/core/irqfd.c
# case: V3
# check: V3
s/(void)hyp_irqfd_detach(.*$//
