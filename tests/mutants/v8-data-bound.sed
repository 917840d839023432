# what: event ids of more than 16 bits are deliverable
# file: vmm/core/gsi.c
# case: V8
# check: V2
s/data <= ITS_MAX_ID \&\& //
