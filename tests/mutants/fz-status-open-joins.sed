# what: half a line of who had the port before becomes part of the guest's status
# file: devices/virtio/status.c
# fuzz: status
/case VIRTIO_CONSOLE_PORT_OPEN:/,/break;/s/			begin_line(s);/			continue_line(s);/
1,/^static void begin_line/s/^static void begin_line/static void continue_line(struct status *s)\n{\n	(void)s;\n}\n\nstatic void begin_line/
