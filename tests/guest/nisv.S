// SPDX-License-Identifier: BSD-3-Clause
//
// nisv - an arm64 Image that loads a register pair from a device: an access that KVM cannot
// decode. It wants an external abort for it, says "external abort" on the UART and powers off;
// anything else ends in a reset.

	.set	UART_DR, 0x09000000
	.set	UART_FR, 0x09000018

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
	adr	x0, vectors
	msr	vbar_el1, x0
	isb
	ldr	x1, =UART_FR
	ldp	w2, w3, [x1]
reset:
	movz	w0, #0x8400, lsl #16	// PSCI SYSTEM_RESET, 0x84000009
	movk	w0, #0x0009
	hvc	#0
	b	.

	// x4: ESR_EL1, class 0x25 (data abort at EL1), fault status 0x10 (external)
abort:
	mrs	x4, esr_el1
	mov	w4, w4			// Linux 6.1 sets the upper half, too
	lsr	x5, x4, #26
	cmp	x5, #0x25
	b.ne	reset
	and	x5, x4, #0x3f
	cmp	x5, #0x10
	b.ne	reset
	ldr	x1, =UART_DR
	adr	x2, text
1:	ldrb	w3, [x2], #1
	cbz	w3, 2f
	strb	w3, [x1]
	b	1b
2:	movz	w0, #0x8400, lsl #16	// PSCI SYSTEM_OFF
	movk	w0, #0x0008
	hvc	#0
	b	.
text:	.asciz	"external abort\n"
	.ltorg

	.balign	2048
vectors:
	.rept	16			// whatever comes
	b	abort
	.balign	128
	.endr
end:
