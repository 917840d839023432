# what: a message names another device's SPI
# file: vmm/core/gsi.c
# case: V8
s/data - FIRST_SPI - cfg->v2m_spi < cfg->v2m_count/data - FIRST_SPI < cfg->nr_spis/
