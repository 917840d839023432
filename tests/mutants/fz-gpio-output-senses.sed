# what: an output pin of the PL061 senses edges
# file: devices/gpio/pl061.c
# fuzz: gpio
s/ & (uint8_t)~g->s.is & (uint8_t)~g->s.dir;/ \& (uint8_t)~g->s.is;/
