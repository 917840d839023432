# what: an irqfd is attached to a GSI that is not in the table
# file: vmm/core/gsi.c
# case: V3
s/if (gsi >= s->cfg.nr_spis \&\& (gsi >= s->top ||.*$/if (gsi >= s->top)/
