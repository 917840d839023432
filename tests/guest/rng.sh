#!/bin/sh
# rng.sh N: the entropy device's driver is unbound and bound N times, with a read of it each time, and one under way when it goes.
. /t/tap.sh

driver=/sys/bus/virtio/drivers/virtio_rng
for d in $driver/virtio*; do
	device=${d##*/}
done

rebind()
{
	dd if=/dev/hwrng of=/dev/null bs=4096 count=16 2>/dev/null &
	echo "$device" >$driver/unbind && echo "$device" >$driver/bind || return
	wait $!
	[ "$(dd if=/dev/hwrng bs=64 count=1 2>/dev/null | wc -c)" = 64 ]
}

test_rebinds rng "$1" rebind
test_clean
done_testing
