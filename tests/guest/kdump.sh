#!/bin/sh
# kdump.sh [HOST]: crash under traffic into a second kernel, which finds the network card as the first one left it: rings
# live, vectors armed. Needs the initramfs `kdump`, crashkernel= and memory for both.
. /t/tap.sh

host=$(peer "$1")
if [ -e /proc/vmcore ]; then
	check "the first kernel's memory can be read" [ "$(head -c 4 /proc/vmcore | tail -c 3)" = ELF ]
	test_ping "$host" 20
	test_irqs
	done_testing
	exit
fi

ping -c 1 -W 5 "$host" >/dev/null || { not_ok "ping before the crash"; done_testing; exit; }
(cd / && find . -xdev ! -path './boot/*' | cpio -o -H newc 2>/dev/null) >/tmp/initrd
cmdline=$(sed 's/crashkernel=[^ ]*//' /proc/cmdline)
if kexec -p /boot/Image --initrd=/tmp/initrd --command-line="$cmdline nr_cpus=1 reset_devices"; then
	echo "# crash"
	ping -A -c 100000 "$host" >/dev/null &
	sleep 1
	echo c >/proc/sysrq-trigger
fi
not_ok "the second kernel came up"
done_testing
