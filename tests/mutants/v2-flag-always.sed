# what: the device id flag is set whether the ITS wants it or not
# file: vmm/core/gsi.c
# case: V2
# check: V2
s/\.valid_devid = s->cfg.need_devid/.valid_devid = true/
