# what: a table is set before the interrupt controller INITs
# file: vmm/core/gsi.c
# case: V4
# check: V4
/^static int commit_locked/,/^}/s/if (!s->started)/if (false)/
