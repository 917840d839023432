#!/bin/sh
# balloon.sh MODE [N]: three quarters of the memory are used and freed (report), with the driver away meanwhile (inflate); N MiB
# are used that the balloon has (press); the driver unbound and bound N times (rebind). Says how far it is, and stays until it is ended.
. /t/tap.sh

driver=/sys/bus/virtio/drivers/virtio_balloon
for d in $driver/virtio*; do
	device=${d##*/}
done

rebind()
{
	echo "$device" >$driver/unbind && echo "$device" >$driver/bind
}

use_and_free()
{
	mkdir -p /tmp/big
	mount -t tmpfs -o size=90% tmpfs /tmp/big
	dd if=/dev/zero of=/tmp/big/file bs=1M count=288 2>/dev/null || echo "balloon: dd failed"
	echo "balloon: full"
	sleep 3
	umount /tmp/big
}

case $1 in
report)
	sleep 4 # what was free when it booted is reported by then
	echo "balloon: ready"
	sleep 2
	use_and_free
	echo "balloon: freed"
	;;
inflate)
	sleep 4 # it is inflated by then
	echo "$device" >$driver/unbind
	echo "balloon: ready"
	sleep 2
	use_and_free
	echo "$device" >$driver/bind
	echo "balloon: freed"
	;;
press)
	sleep 4 # it is inflated by then
	echo "balloon: ready"
	mkdir -p /tmp/big
	mount -t tmpfs -o size=90% tmpfs /tmp/big
	dd if=/dev/zero of=/tmp/big/file bs=1M count="$2" 2>/dev/null
	echo "balloon: has $(du -m /tmp/big/file | cut -f 1) MiB"
	;;
rebind)
	test_rebinds balloon "$2" rebind
	test_clean
	done_testing
	exit
	;;
esac
while :; do
	sleep 100
done
