# what: a frame in several buffers says that it is in one
# file: devices/virtio/net_stream.c
# fuzz: net_stream
s/\.num_buffers = (uint16_t)n }/.num_buffers = 1 }/
