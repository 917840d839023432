# what: what a guest can cause to be logged has no limit
# file: vmm/base/log.c
# case: flood-log-lines
# on: mmio
s/#define LIMIT_LINES 10$/#define LIMIT_LINES 1000000/
