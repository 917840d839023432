# what: the interrupt comes before its reason
# file: devices/virtio/virtio_mmio.c
# case: V10
# check: V10
/^static void raise_bits/,/^}/{
	/give_reason/d
	s/^\tedge_line_pulse(.*$/&\n\tgive_reason(t, bits);/
}
