# what: another back end goes on with requests of which nobody knows
# file: devices/vhost/user_link.c
# fuzz: vuser
/^static bool may_be_gone_on_with/,/^}/s/d->keeps_inflight ||/true ||/
