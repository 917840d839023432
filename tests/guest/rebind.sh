#!/bin/sh
# rebind.sh N [HOST [stay]]: take the driver from eth0's device and give it back, N times, while packets fly. With stay it says
# when it begins and is through, and then waits for a line.
. /t/tap.sh

n=${1:?}
host=$(peer "$2")
driver=/sys/bus/virtio/drivers/virtio_net
device=$(virtio_of eth0)
address=$(ip -4 addr show dev eth0 | awk '$1 == "inet" { print $2; exit }')

# requests as fast as the answers come, and again whenever the interface is gone
while :; do
	ping -A -c 100000 -w 60 "$host" || sleep 0.02
done >/dev/null 2>&1 &
traffic=$!

rebind()
{
	echo "$device" >$driver/unbind || return
	echo "$device" >$driver/bind || return
	ip addr add "$address" dev eth0 || return
	ip link set eth0 up || return
	# the first ARP may meet a link that is not up yet
	ping -c 1 -W 1 "$host" >/dev/null || ping -c 3 -W 1 "$host" >/dev/null
}

if [ "$3" = stay ]; then
	rebind || echo "# the first"
	echo "rebind: ready"
	sleep 2
fi
i=0
while [ $i -lt "$n" ]; do
	rebind || break
	i=$((i + 1))
	[ $((i % 100)) != 0 ] || echo "# $i of $n"
done
kill $traffic
wait $traffic 2>/dev/null
killall ping
check "$i of $n rebinds, each with a ping" [ $i = "$n" ]
if [ "$3" = stay ]; then
	echo "rebind: $i rebinds"
	read -r _
fi
test_ping "$host" 20
test_irqs
test_clean
done_testing
