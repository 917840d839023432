# what: a reset in the middle of a start leaves the rings running
# file: devices/vhost/user_run.c
# fuzz: vuser
/^bool vu_settle/,/^}/s/d->phase == VU_QUIET && d->begun/d->phase == VU_QUIET \&\& d->begun > 1/
