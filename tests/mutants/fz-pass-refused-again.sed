# what: interrupts that the host has refused are asked for with each access
# file: devices/vfio/pass_irq.c
# fuzz: pass
s/return kind != PASS_NONE && kind == q->failed && count == q->failed_count;/return false;/
