# what: a device that goes leaves its eventfds open
# file: vmm/core/irqfd.c
# case: V7
/^void irqfd_fini/,/^}/s/close_fd(&f->fd);/f->fd = -1;/
