#!/bin/sh
# vsock.sh N BYTES: N connections to the host's port 7, each with BYTES there and back; then the host may do the same with
# port 8 here, until it says on port 7 that it is through. The program is /vsock-peer, which the host adds.
. /t/tap.sh

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
