# what: neighbours swap their SPIs
# file: vmm/core/gsi.c
# case: V1
# check: V1
s/\.pin = gsi }/.pin = gsi ^ 1 }/
