# what: the poll of a back end that has ended stays armed
# file: devices/vhost/user_run.c
# fuzz: vuser
/^static void part/,/^}/s/loop_poll_disarm(&d->poll);/;/
