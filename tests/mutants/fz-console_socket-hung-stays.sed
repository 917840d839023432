# what: who has gone keeps the next one out as long as the guest takes nothing
# file: vmm/core/stream_client.c
# fuzz: console_socket
s/ || (c->fd >= 0 \&\& !c->hung))$/ || c->fd >= 0)/
