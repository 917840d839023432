# what: an irqfd is attached to a GSI that is not in the table
# file: vmm/core/gsi.c
# case: V3
# check: V3
s/(s->way != MSI_BY_ROUTE || gsi >= s->top || .*$/gsi >= s->top)/
