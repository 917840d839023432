# what: the device id flag is never set
# file: vmm/core/gsi.c
# case: V2
# check: V2
s/\.valid_devid = s->cfg.need_devid/.valid_devid = false/
