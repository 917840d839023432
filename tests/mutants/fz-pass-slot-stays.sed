# what: a BAR that moves is shown at its old place, too
# file: devices/vfio/pass_bar.c
# fuzz: pass
/^static void leave_slots/,/^}/s/if (b->slotted\[k\])/if (b->slotted[k] \&\& k)/
