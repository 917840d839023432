# what: another back end goes on with requests of which nobody knows
# file: devices/vhost/user_link.c
# fuzz: vuser
/^static bool can_go_on/,/^}/s/d->inflight_fd < 0 &&/false \&\&/
