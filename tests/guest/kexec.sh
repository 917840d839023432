#!/bin/sh
# kexec.sh N [HOST]: start the same kernel N times over, each from the one before; after the last, test the network.
# Needs the initramfs `kexec`, which holds /boot/Image; the next initramfs is packed from what runs here.
. /t/tap.sh

n=${1:?}
host=$(peer "$2")
if [ "$n" = 0 ]; then
	test_ping "$host" 20
	test_irqs
	# a kernel without EFI cannot keep the first one's LPI tables, and says so
	test_clean 'Booted with LPIs enabled'
	done_testing
	exit
fi

ping -c 1 -W 5 "$host" >/dev/null || { not_ok "ping before kexec, $n to go"; done_testing; exit; }
cmdline=$(sed "s/\bt=kexec[^ ]*/t=kexec,$((n - 1)),$host/" /proc/cmdline)
(cd / && find . -xdev | cpio -o -H newc 2>/dev/null) >/tmp/initrd
echo "# kexec, $n to go"
kexec -s -l /boot/Image --initrd=/tmp/initrd --command-line="$cmdline" && stty sane && kexec -e
not_ok "kexec started the next kernel"
done_testing
