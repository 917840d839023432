/*
 * edu PATH UIO N: interrupts of QEMU's edu device by its INTx line, one after the other, through UIO.
 *
 * PATH is the device's folder in sysfs, UIO its /dev/uioN, bound to uio_pci_generic. Each of N turns raises the
 * line by a register, waits for the interrupt, looks whether it is the one that was to come next, takes it back
 * in the device, and lets the line interrupt again (the kernel has set Interrupt Disable).
 *
 * Says "edu: N raised, M received"; ends with 0 where the two are the same, and the factorial unit answers.
 */
#include <linux/fcntl.h>
#include <linux/mman.h>

#include "start.h"

#define ID 0x00
#define LIVE 0x04
#define FACTORIAL 0x08
#define STATUS 0x20
#define IRQ_STATUS 0x24
#define IRQ_RAISE 0x60
#define IRQ_ACK 0x64

#define PCI_COMMAND 4
#define INTX_DISABLE 0x400
#define PAGE 4096

struct pollfd {
	int fd;
	short events, revents;
};

static volatile unsigned *regs;

static unsigned rd(unsigned off)
{
	return regs[off / 4];
}

static void wr(unsigned off, unsigned val)
{
	regs[off / 4] = val;
}

static int open_in(const char *dir, const char *name)
{
	char path[256];
	unsigned long a = length(dir), b = length(name);

	if (a + b + 1 > sizeof(path))
		return -1;
	memcpy(path, dir, a);
	memcpy(path + a, name, b + 1);
	return (int)sys6(__NR_openat, AT_FDCWD, (long)path, O_RDWR | O_SYNC, 0, 0, 0);
}

static void die(const char *what)
{
	say("edu: ");
	say(what);
	say("\n");
	sys3(__NR_exit_group, 1, 0, 0);
}

/* Ten seconds for what takes microseconds. */
static int wait_for_interrupt(int uio, unsigned *count)
{
	struct pollfd p = { uio, 1, 0 };
	long timeout[2] = { 10, 0 };

	if (sys6(__NR_ppoll, (long)&p, 1, (long)timeout, 0, 0, 0) != 1)
		return 0;
	return sys3(__NR_read, uio, (long)count, 4) == 4;
}

static void allow(int config)
{
	unsigned short command = 0;

	sys6(__NR_pread64, config, (long)&command, 2, PCI_COMMAND, 0, 0);
	command &= (unsigned short)~INTX_DISABLE;
	if (sys6(__NR_pwrite64, config, (long)&command, 2, PCI_COMMAND, 0, 0) != 2)
		die("its COMMAND cannot be written");
}

/* 10! by the device's own thread: registers that change by themselves */
static int computes(void)
{
	wr(FACTORIAL, 10);
	while (rd(STATUS) & 1)
		;
	return rd(FACTORIAL) == 3628800 && (wr(LIVE, 0x12345678), rd(LIVE) == ~0x12345678u);
}

static unsigned long run(int uio, int config, unsigned long n)
{
	unsigned count = 0, last = 0;
	unsigned long i;

	for (i = 0; i < n; i++) {
		wr(IRQ_RAISE, 1);
		if (!wait_for_interrupt(uio, &count) || (i && count != last + 1))
			break;
		last = count;
		if (rd(IRQ_STATUS) != 1)
			break;
		wr(IRQ_ACK, 1);
		allow(config);
	}
	return i;
}

void start_c(const unsigned long *stack)
{
	const char *const *argv = (const char *const *)(stack + 1);
	unsigned long n, got;
	int uio, config, res, ok;

	if (stack[0] != 4)
		die("usage: edu PATH UIO N");
	n = to_number(argv[3]);
	uio = open_in(argv[2], "");
	config = open_in(argv[1], "/config");
	res = open_in(argv[1], "/resource0");
	if (uio < 0 || config < 0 || res < 0)
		die("cannot be opened");
	regs = (volatile unsigned *)sys6(__NR_mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, res, 0);
	if ((unsigned long)regs > -4096ul)
		die("its registers cannot be mapped");
	ok = (rd(ID) & 0xff) == 0xed && computes();
	if (!ok)
		say("edu: it does not answer as edu\n");
	allow(config);
	got = run(uio, config, n);
	say("edu: ");
	say_number(n);
	say(" raised, ");
	say_number(got);
	say(" received\n");
	sys3(__NR_exit_group, !ok || got != n, 0, 0);
	for (;;)
		;
}
