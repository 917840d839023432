#!/bin/sh
# console.sh N: the console's driver is unbound and bound, N times, with much to show before and a line after it each time. While it
# shows that, Linux 6.12 does not stand it: its hvc_console follows a null pointer.
. /t/tap.sh

driver=/sys/bus/virtio/drivers/virtio_console
for d in $driver/virtio*; do
	device=${d##*/}
done

# What was open went with the last one. The newest is it: a number may still be taken.
open_console()
{
	new=$(ls -t /dev/hvc* | head -n 1)
	exec <"$new" >"$new" 2>&1
}

rebind()
{
	yes "much to show" | head -c 5000
	usleep 50000
	echo "$device" >$driver/unbind && echo "$device" >$driver/bind || return
	open_console
	echo "after $1"
}

rebind 0
echo "console: ready"
sleep 2
i=0
while [ $i -lt "$1" ] && rebind $((i + 1)); do
	i=$((i + 1))
done
check "$i of $1 rebinds, each with a line" [ $i = "$1" ]
echo "console: $i rebinds"
# Linux 6.12 takes no input there after that, from QEMU's neither: the host has so long to look
sleep 8
test_clean
done_testing
# init's own is no more
echo "guest: console status $?"
sleep 1
poweroff -f
