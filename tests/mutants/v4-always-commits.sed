# what: a batch without a change sets a table
# file: vmm/core/gsi.c
# case: V4
# check: V4
s/if (!s->wanting \&\& !s->leaving .*/if (false) {/
