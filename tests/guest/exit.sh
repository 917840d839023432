#!/bin/sh
# exit.sh STATUS: what the monitor ends with. The last status counts, and what is none is nothing. Init is at work.
# exit.sh STATUS rebind N: the port's driver is unbound amid many a status, and bound, N times, with a status after it each time.
. /t/tap.sh

port()
{
	basename "$(dirname "$(grep -l microvm.status /sys/class/virtio-ports/*/name)")"
}

driver=/sys/bus/virtio/drivers/virtio_console
rebind()
{
	exec 9>"/dev/$(port)" # now: a name that is gone would be made a file
	yes 7 >&9 2>/dev/null &
	exec 9>&-
	usleep 50000
	echo "$device" >$driver/unbind && echo "$device" >$driver/bind || return
	kill $! 2>/dev/null
	wait $! 2>/dev/null
	tries=0
	until guest-exit "$1" true 2>/dev/null; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || return 1
		sleep 0.05
	done
}

if [ "$2" = rebind ]; then
	device=$(basename "$(readlink -f "/sys/class/virtio-ports/$(port)/device")")
	test_rebinds exit "$3" rebind "$1"
	test_clean
	done_testing
	exit
fi
check "a status" guest-exit 7 true
check "another" guest-exit "$1" true
check "init" sh -c "echo init >/dev/$(port)"
check "no status" sh -c "printf '121\nx\n-1\n' >/dev/$(port)"
check "above 120 is refused" sh -c "! guest-exit 121 true 2>/dev/null"
done_testing
