# what: a cancel does not wait for the transfer's end
# file: vmm/core/loop.c
# fuzz: loop
/^void loop_io_cancel/,/^}/s/while (s->in_kernel) {/while (0) {/
