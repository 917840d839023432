#!/bin/sh
# console.sh N: the console's driver is unbound and bound, N times, with much to show before and a line after it each time; then it
# stays until it is ended, since Linux 6.12 takes no input there any more, from QEMU's console neither. Amid what it shows, Linux 6.12
# does not stand it: its hvc_console follows a null pointer.
. /t/tap.sh

driver=/sys/bus/virtio/drivers/virtio_console
for d in $driver/virtio*; do
	device=${d##*/}
done

# What was open went with the last one, and its number may still be taken.
open_console()
{
	for new in /dev/hvc*; do
		(: >"$new") 2>/dev/null && exec <"$new" >"$new" 2>&1 && return
	done
	return 1
}

rebind()
{
	yes "much to show" | head -c 5000
	usleep 50000
	echo "$device" >$driver/unbind && echo "$device" >$driver/bind || return
	open_console || return
	echo "after $1"
}

rebind 0 || echo "# the first"
echo "console: ready"
sleep 2
i=0
while [ $i -lt "$1" ] && rebind $((i + 1)); do
	i=$((i + 1))
done
check "$i of $1 rebinds, each with a line" [ $i = "$1" ]
test_clean
done_testing
# not where init writes: that went with the first
echo "guest: console status $?"
echo "console: $i rebinds"
while :; do
	sleep 100
done
