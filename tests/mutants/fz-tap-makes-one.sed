# what: a tap that does not exist is made
# file: devices/vhost/tap.c
# fuzz: tap
s/r = look_up(t, err);/r = 0;/
