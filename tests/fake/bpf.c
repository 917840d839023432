// SPDX-License-Identifier: BSD-3-Clause
#include "tests/fake/bpf.h"

#include <linux/audit.h>
#include <string.h>

#ifdef __aarch64__
#define OUR_ARCH AUDIT_ARCH_AARCH64
#else
#define OUR_ARCH AUDIT_ARCH_X86_64
#endif

struct machine {
	uint32_t a, x, mem[BPF_MEMWORDS];
};

static uint32_t compute(uint16_t op, uint32_t a, uint32_t b)
{
	switch (op) {
	case BPF_AND: return a & b;
	case BPF_OR: return a | b;
	case BPF_XOR: return a ^ b;
	case BPF_ADD: return a + b;
	case BPF_SUB: return a - b;
	case BPF_LSH: return b < 32 ? a << b : 0;
	case BPF_RSH: return b < 32 ? a >> b : 0;
	default: return 0;
	}
}

static int jumps(uint16_t op, uint32_t a, uint32_t b)
{
	switch (op) {
	case BPF_JEQ: return a == b;
	case BPF_JGT: return a > b;
	case BPF_JGE: return a >= b;
	case BPF_JSET: return (a & b) != 0;
	default: return 0;
	}
}

uint32_t bpf_run(const struct sock_filter *prog, unsigned len, const struct seccomp_data *data)
{
	struct machine m = { 0 };

	for (unsigned pc = 0; pc < len; pc++) {
		const struct sock_filter *i = &prog[pc];
		uint32_t b = BPF_SRC(i->code) == BPF_X ? m.x : i->k;

		switch (BPF_CLASS(i->code)) {
		case BPF_LD:
			if (i->code == (BPF_LD | BPF_W | BPF_ABS) && i->k % 4 == 0 && i->k < sizeof(*data))
				memcpy(&m.a, (const char *)data + i->k, 4);
			else if (i->code == (BPF_LD | BPF_MEM) && i->k < BPF_MEMWORDS)
				m.a = m.mem[i->k];
			else if (i->code == (BPF_LD | BPF_IMM))
				m.a = i->k;
			else
				return SECCOMP_RET_KILL_PROCESS;
			break;
		case BPF_ST:
			m.mem[i->k % BPF_MEMWORDS] = m.a;
			break;
		case BPF_ALU:
			m.a = compute(BPF_OP(i->code), m.a, b);
			break;
		case BPF_JMP:
			if (BPF_OP(i->code) == BPF_JA)
				pc += i->k;
			else
				pc += jumps(BPF_OP(i->code), m.a, b) ? i->jt : i->jf;
			break;
		case BPF_RET:
			return BPF_RVAL(i->code) == BPF_A ? m.a : i->k;
		case BPF_MISC:
			if (BPF_MISCOP(i->code) == BPF_TAX)
				m.x = m.a;
			else
				m.a = m.x;
			break;
		default:
			return SECCOMP_RET_KILL_PROCESS;
		}
	}
	return SECCOMP_RET_KILL_PROCESS;
}

uint32_t bpf_ask(const struct sock_filter *prog, unsigned len, int nr, const uint64_t args[6])
{
	struct seccomp_data d = { .nr = nr, .arch = OUR_ARCH };

	memcpy(d.args, args, sizeof(d.args));
	return bpf_run(prog, len, &d);
}
