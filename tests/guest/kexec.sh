#!/bin/sh
# kexec.sh N [HOST]: start the same kernel N times over, each from the one before; after the last, test the network.
# Needs the initramfs `kexec`, which holds /boot/Image; the next initramfs is packed from what runs here.
. /t/tap.sh

n=${1:?}
host=$(peer "$2")
if [ "$n" = 0 ]; then
	test_ping "$host" 20
	test_irqs
	test_clean
	done_testing
	exit
fi

# Without EFI, Linux cannot tell the next kernel where its LPI tables are, and the next one would be writing, or worse, be
# loaded over them while the redistributors still read there. So they stop: GICR_CTLR.EnableLPIs, a CPU each 128 KiB.
stop_lpis()
{
	base=$(awk '/ : GICR$/ { split($1, range, "-"); print range[1]; exit }' /proc/iomem)
	[ -n "$base" ] || return
	cpu=0
	while [ $cpu -lt "$(nproc)" ]; do
		devmem $((0x$base + cpu * 0x20000)) 32 0
		cpu=$((cpu + 1))
	done
}

ping -c 1 -W 5 "$host" >/dev/null || { not_ok "ping before kexec, $n to go"; done_testing; exit; }
cmdline=$(sed "s/\bt=kexec[^ ]*/t=kexec,$((n - 1)),$host/" /proc/cmdline)
(cd / && find . -xdev | cpio -o -H newc 2>/dev/null) >/tmp/initrd
echo "# kexec, $n to go"
stty sane
stop_lpis
kexec-load /boot/Image /tmp/initrd "$cmdline"
not_ok "kexec started the next kernel"
done_testing
