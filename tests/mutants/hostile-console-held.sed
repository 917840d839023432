# what: output that was under way outlives a reset
# file: devices/virtio/console.c
# case: console-tx-reset-midway
# on: mmio
/^static void console_reset/,/^}/s/c->out_held = false;//
