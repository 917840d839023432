#!/bin/sh
# edu.sh N: QEMU's edu device on PCI: N interrupts by its line, each waited for
. /t/tap.sh

n=${1:?}
device=
for d in /sys/bus/pci/devices/*; do
	[ "$(cat "$d/vendor"):$(cat "$d/device")" != 0x1234:0x11e8 ] || device=$d
done
check "edu is there: $device" [ -n "$device" ]
echo uio_pci_generic >"$device/driver_override"
echo "${device##*/}" >/sys/bus/pci/drivers_probe
uio=/dev/$(ls "$device/uio" 2>/dev/null)
check "uio has it: $uio" [ -c "$uio" ]
check "$n interrupts, none lost" edu "$device" "$uio" "$n"
echo "figure: edu by INTx: $(awk '/uio_pci_generic/ { print $2 }' /proc/interrupts) interrupts of $n"
grep uio_pci_generic /proc/interrupts | sed 's/^/# /'
test_clean
done_testing
