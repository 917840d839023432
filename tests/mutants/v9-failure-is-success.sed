# what: a commit that failed is taken as done
# file: vmm/core/gsi.c
# case: V9
# check: V9
/^static int commit_locked/,/^}/s/^\t\ts->stats.failed_commits++;/\t\ttable_taken(s, n), s->stats.failed_commits++;/
