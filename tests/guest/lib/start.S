// SPDX-License-Identifier: BSD-3-Clause
//
// start - an arm64 Image's header, the way into C with the MMU on, and the vectors
//
// The first CPU comes here as Linux booting.rst says: EL1, MMU off, x0 the device tree. Later ones come by PSCI
// CPU_ON, x0 their index. Addresses are mapped one to one in blocks of 1 GiB, 512 of them: the one that holds this
// image is memory, all others are devices until memory_init() has read the device tree.

#define STACK_SHIFT 14
#define MAIR 0x04ff             // 0: memory, write-back; 1: device, nGnRE
#define BLOCK_MEMORY 0x701      // attribute 0, inner shareable, accessed
#define BLOCK_DEVICE_LO 0x405   // attribute 1, accessed, and from bit 53 on never executed
#define TCR 0x803519            // 39 bits, 4 KiB, write-back, inner shareable, no upper half; bits 34:32 are added
#define SCTLR 0x30d01805        // the bits that must be one, I, C, M

	.section .head, "ax"
	.globl	_head
_head:
	b	start			// code0
	nop				// code1
	.quad	0			// text_offset

	// image_size stands here, written by image.ld: as an expression it would be a relocation
	.section .head_rest, "ax"
	.quad	0xa			// flags: little-endian, page size 4 KiB, anywhere
	.quad	0, 0, 0			// reserved
	.ascii	"ARM\x64"		// magic
	.long	0

	.text
start:
	mov	x20, x0
	bl	fill_page_table
	bl	mmu_on
	adrp	x0, bss_start
	add	x0, x0, :lo12:bss_start
	adrp	x1, bss_end
	add	x1, x1, :lo12:bss_end
1:	stp	xzr, xzr, [x0], #16
	cmp	x0, x1
	b.lo	1b

	// R_AARCH64_RELATIVE is the only kind there is: offset, type, addend
	adr	x2, _head
	adrp	x0, rela_start
	add	x0, x0, :lo12:rela_start
	adrp	x1, rela_end
	add	x1, x1, :lo12:rela_end
2:	cmp	x0, x1
	b.hs	3f
	ldp	x3, x4, [x0], #16
	ldr	x5, [x0], #8
	add	x5, x5, x2
	str	x5, [x2, x3]
	b	2b
3:
	mov	x0, #0
	bl	enter_c
	mov	x0, x20
	b	bare_main

// x0: index of this CPU
	.globl	secondary_start
secondary_start:
	mov	x20, x0
	bl	mmu_on
	mov	x0, x20
	bl	enter_c
	mov	x0, x20
	b	cpu_main

// x0: index; sets stack, vectors, TPIDR_EL1
enter_c:
	msr	tpidr_el1, x0
	adrp	x1, stacks
	add	x1, x1, :lo12:stacks
	add	x0, x0, #1
	add	x1, x1, x0, lsl #STACK_SHIFT
	mov	sp, x1
	adr	x1, vectors
	msr	vbar_el1, x1
	mov	x29, xzr
	isb
	ret

fill_page_table:
	adrp	x0, page_table
	adr	x1, _head
	lsr	x1, x1, #30
	mov	x2, #0
	movz	x4, #0x0060, lsl #48	// never executed
	movk	x4, #BLOCK_DEVICE_LO
	mov	x5, #BLOCK_MEMORY
1:	cmp	x2, x1
	csel	x3, x5, x4, eq
	orr	x3, x3, x2, lsl #30
	str	x3, [x0, x2, lsl #3]
	add	x2, x2, #1
	cmp	x2, #512
	b.ne	1b
	dsb	sy
	// written past the caches: what they hold of it is old
	mov	x2, #4096
2:	subs	x2, x2, #16		// the shortest line there is
	add	x3, x0, x2
	dc	ivac, x3
	b.ne	2b
	dsb	sy
	ret

mmu_on:
	ldr	x0, =MAIR
	msr	mair_el1, x0
	ldr	x0, =TCR
	mrs	x1, id_aa64mmfr0_el1
	and	x1, x1, #7		// PARange; 5 is 48 bits
	cmp	x1, #5
	mov	x2, #5
	csel	x1, x1, x2, lo
	orr	x0, x0, x1, lsl #32
	msr	tcr_el1, x0
	adrp	x0, page_table
	msr	ttbr0_el1, x0
	tlbi	vmalle1
	ic	iallu
	dsb	sy
	isb
	ldr	x0, =SCTLR
	msr	sctlr_el1, x0
	isb
	ret
	.ltorg

// long smccc(bool smc, x0..x3 of the call)
	.globl	smccc
smccc:
	mov	w9, w0
	mov	x0, x1
	mov	x1, x2
	mov	x2, x3
	mov	x3, x4
	cbnz	w9, 1f
	hvc	#0
	ret
1:	smc	#0
	ret

// struct trap_frame of cpu.h: x0 to x30, pc, pstate, one spare
	.macro	vector kind
	.balign	128
	sub	sp, sp, #272
	stp	x0, x1, [sp]
	mov	x0, #\kind
	b	trap_common
	.endm

	.balign	2048
vectors:
	.irp	kind, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	vector	\kind
	.endr

trap_common:
	stp	x2, x3, [sp, #16]
	stp	x4, x5, [sp, #32]
	stp	x6, x7, [sp, #48]
	stp	x8, x9, [sp, #64]
	stp	x10, x11, [sp, #80]
	stp	x12, x13, [sp, #96]
	stp	x14, x15, [sp, #112]
	stp	x16, x17, [sp, #128]
	stp	x18, x19, [sp, #144]
	stp	x20, x21, [sp, #160]
	stp	x22, x23, [sp, #176]
	stp	x24, x25, [sp, #192]
	stp	x26, x27, [sp, #208]
	stp	x28, x29, [sp, #224]
	mrs	x1, elr_el1
	stp	x30, x1, [sp, #240]
	mrs	x1, spsr_el1
	str	x1, [sp, #256]
	mov	x1, sp
	bl	trap
	ldr	x1, [sp, #256]
	msr	spsr_el1, x1
	ldp	x30, x1, [sp, #240]
	msr	elr_el1, x1
	ldp	x2, x3, [sp, #16]
	ldp	x4, x5, [sp, #32]
	ldp	x6, x7, [sp, #48]
	ldp	x8, x9, [sp, #64]
	ldp	x10, x11, [sp, #80]
	ldp	x12, x13, [sp, #96]
	ldp	x14, x15, [sp, #112]
	ldp	x16, x17, [sp, #128]
	ldp	x18, x19, [sp, #144]
	ldp	x20, x21, [sp, #160]
	ldp	x22, x23, [sp, #176]
	ldp	x24, x25, [sp, #192]
	ldp	x26, x27, [sp, #208]
	ldp	x28, x29, [sp, #224]
	ldp	x0, x1, [sp]
	add	sp, sp, #272
	eret
