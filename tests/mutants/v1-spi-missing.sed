# what: the table leaves out SPI 0
# file: vmm/core/gsi.c
# case: V1
# check: V1
s/for (gsi = 0; gsi < s->cfg.nr_spis; gsi++)$/for (gsi = 1; gsi < s->cfg.nr_spis; gsi++)/
