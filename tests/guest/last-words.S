// SPDX-License-Identifier: BSD-3-Clause
//
// last-words - an arm64 Image that prints a line on the PL011, and with the next instruction asks for a reset: what was
// printed last must not be lost to who looks for a panic. The header is that of Linux booting.rst.

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
	mov	x1, #0x09000000		// UARTDR
	adr	x2, text
1:	ldrb	w3, [x2], #1
	cbz	w3, 2f
	strb	w3, [x1]
	b	1b
2:	movz	w0, #0x8400, lsl #16	// PSCI SYSTEM_RESET, 0x84000009
	movk	w0, #0x0009
	hvc	#0
	b	2b
text:
	.asciz	"my last words\nand half a line"
end:
