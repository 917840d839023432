# what: a message names an SPI behind the frame's last
# file: vmm/core/gsi.c
# case: V8
s/cfg->v2m_spi < cfg->v2m_count/cfg->v2m_spi <= cfg->v2m_count/
