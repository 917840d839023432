// SPDX-License-Identifier: BSD-3-Clause
//
// null - an arm64 Image whose first act is PSCI SYSTEM_OFF: the guest that shows what the
// monitor itself costs. The header is that of Linux booting.rst.

	.text
_head:
	b	start			// code0
	nop				// code1
	.quad	0			// text_offset
	.quad	end - _head		// image_size
	.quad	0xa			// flags: little-endian, page size 4 KiB, anywhere
	.quad	0, 0, 0			// reserved
	.ascii	"ARM\x64"		// magic
	.long	0
start:
	movz	w0, #0x8400, lsl #16	// PSCI SYSTEM_OFF, 0x84000008
	movk	w0, #0x0008
	hvc	#0
	b	start
end:
