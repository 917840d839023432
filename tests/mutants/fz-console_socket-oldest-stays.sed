# what: with nobody there a full ring keeps its oldest byte
# file: vmm/core/stream.c
# fuzz: console_socket
s/s->tail += len - skip - room;/s->tail += len - skip - room - 1;/
