# what: one queue more than the driver uses stays attached
# file: devices/vhost/tap.c
# fuzz: tap
s/for (; t->enabled > pairs; t->enabled--)/for (; t->enabled > pairs + 1; t->enabled--)/
