# what: a look at the pending bits takes them
# file: vmm/core/irqfd.c
# case: V6
/^bool irqfd_pending/,/^}/s/^\treturn .*;/\treturn irqfd_take((struct irqfd *)f) || poll(\&p, 1, 0) == 1;/
