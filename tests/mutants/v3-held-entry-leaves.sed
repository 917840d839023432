# what: an entry leaves the table with an irqfd attached
# file: vmm/core/gsi.c
# case: V3
# check: V3
s/if (r->staged.valid || !r->holds)/if (true)/
