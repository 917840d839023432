#!/bin/sh
# vsock.sh N BYTES: N connections to the host's port 7, each with BYTES there and back; then the host may do the same with
# port 8 here, until it says that it is through. The program is /vsock-peer, which the host adds.
# vsock.sh hold N: N connections to port 7 that stay, until the same.
# vsock.sh ssh: an ssh server on port 22, of which the host adds what it needs.
# vsock.sh rebind N: N times the driver is unbound with connections open and bound again, and a new one works.
. /t/tap.sh

driver=$(echo /sys/bus/virtio/drivers/*vsock*)
for d in "$driver"/virtio*; do
	device=${d##*/}
done

holding() # N
{
	rm -f /tmp/held
	/vsock-peer hold 2 7 "$1" >/tmp/held 2>&1 &
	holder=$!
	until [ -s /tmp/held ]; do
		sleep 0.05
	done
	grep -q holding /tmp/held
}

rebind()
{
	holding 5 || return
	echo "$device" >"$driver/unbind" && echo "$device" >"$driver/bind" || return
	kill $holder 2>/dev/null
	wait $holder 2>/dev/null
	/vsock-peer connect 2 7 1 1000 >/tmp/back
}

case $1 in
rebind)
	test_rebinds vsock "$2" rebind
	test_clean
	done_testing
	exit
	;;
ssh)
	chmod 700 /root /root/.ssh && chmod 600 /root/.ssh/*
	start="/ssh/ld-linux-aarch64.so.1 --library-path /ssh/lib"
	$start /ssh/socat1 -d -d VSOCK-LISTEN:22,fork EXEC:"$start /ssh/dropbear -i -R -E -s" 2>/tmp/listening &
	peer=$!
	until grep -q listening /tmp/listening; do
		sleep 0.05
	done
	echo "guest: listening"
	read -r _
	kill $peer || cat /tmp/listening
	test_clean
	done_testing
	exit
	;;
hold)
	/vsock-peer listen 8 >/tmp/listening &
	check "$2 connections are held" holding "$2"
	echo "guest: listening"
	read -r _
	done_testing
	exit
	;;
esac

check "$1 connections to the host, $2 bytes there and back in each" /vsock-peer connect 2 7 "$1" "$2"
/vsock-peer listen 8 >/tmp/listening &
peer=$!
until [ -s /tmp/listening ]; do
	sleep 0.05
done
echo "guest: listening"
read -r _
kill $peer
grep virtio /proc/interrupts | sed 's/^/# /'
test_clean
done_testing
