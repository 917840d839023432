# what: a switch that comes while another back end starts is told to none
# file: devices/vhost/user_run.c
# fuzz: vuser
/^static void started/,/^}/s/if (d->switches)/if (0)/
