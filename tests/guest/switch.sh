#!/bin/sh
# switch.sh HOST NET: eth0 is under load while virtio_pci is loaded and brings a second card, on NET.0/24, whose first
# message makes the host's routing table another; then its driver comes and goes. eth0 goes on (its interrupts come by
# the table), and so does the console (its interrupts do not).
# Wants Debian's kernel and later=virtio_pci.
. /t/tap.sh

first=$1 net=$2 seconds=6
modules=/lib/modules/$(uname -r)

load_later()
{
	while read -r module; do
		insmod "$modules/$module.ko" 2>/dev/null
	done <"$modules/first"
	i=0
	until [ -e /sys/class/net/eth1 ]; do
		i=$((i + 1))
		[ $i -lt 100 ] || return 1
		usleep 50000
	done
}

check "one card to begin with" [ ! -e /sys/class/net/eth1 ]
device=$(virtio_of eth0)
iperf3 -c "$first" -t $seconds -f m --bidir >/tmp/iperf 2>&1 &
load=$!
sleep 1
before=$(interrupts "$device" input)
check "a second card comes" load_later
ip addr add "$net.2/24" dev eth1
ip link set eth1 up
test_ping "$net.1" 20
pci=$(basename "$(readlink -f /sys/class/net/eth1/device/..)")
for _ in 1 2 3 4 5; do
	echo "$pci" >/sys/bus/pci/drivers/virtio-pci/unbind
	echo "$pci" >/sys/bus/pci/drivers/virtio-pci/bind
done
check "its driver comes back" [ -e /sys/class/net/eth1 ]
after=$(interrupts "$device" input)
check "eth0 had interrupts before ($before) and after ($after)" [ "$before" -gt 0 -a "$after" -gt "$before" ]
console=$(basename /sys/bus/virtio/drivers/virtio_console/virtio*)
before=$(interrupts "$console" none)
echo "a line on the console" >/dev/hvc0
sleep 1
after=$(interrupts "$console" none)
check "the console had interrupts before ($before) and after ($after)" [ "$after" -gt "$before" ]
wait $load
cat /tmp/iperf
check "the load ran to its end" grep -q receiver /tmp/iperf
test_ping "$first" 50
test_clean
done_testing
