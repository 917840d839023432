# what: the interrupt comes before its reason
# file: devices/virtio/virtio_mmio.c
# case: V10
/^static void raise_bits/,/^}/{
	/atomic_fetch_or/d
	s/^\tedge_line_pulse(.*$/&\n\tatomic_fetch_or(\&t->status_bits, bits);/
}
