# what: a reprogrammed vector keeps its old SPI
# file: devices/pci/msix.c
# case: V8
# check: V5
s/in_step(e) && irqfd_at_msi(&s->irqfd, e->route)/irqfd_at_msi(\&s->irqfd, e->route)/
