# what: a commit that failed is not tried again
# file: vmm/core/gsi.c
# case: V9
# check: V6
/^static int commit_locked/,/^}/s/^\t\ts->stats.failed_commits++;/\t\ts->wanting = 0, s->stats.failed_commits++;/
