# what: a freed GSI is never handed out again
# file: vmm/core/gsi.c
# case: V7
# check: V7
/^static void table_taken/,/^}/s/forget_gsi(s, gsi);/r->label[0] = 0;/
