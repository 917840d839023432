#!/bin/sh
# window.sh: the registers of eth0's virtio function through the PCI_CFG window of its configuration space
# (virtio 1.2 s4.1.4.9), while the driver runs
. /t/tap.sh

dev=$(readlink -f "/sys/bus/virtio/devices/$(virtio_of eth0)/..")
config=$dev/config

# get OFFSET BYTES: little-endian number in hex, read at once; OFFSET is a multiple of BYTES
get()
{
	dd if="$config" bs="$2" skip=$(($1 / $2)) count=1 2>/dev/null | hexdump -v -e '1/1 "%02x\n"' |
		awk '{ v = $1 v } END { print v }'
}

# put OFFSET BYTE...: in octal, written at once; OFFSET is a multiple of their number
put()
{
	at=$1
	shift
	# shellcheck disable=SC2059 # the bytes are the format
	printf "$(printf '\\%s' "$@")" | dd of="$config" bs="$#" seek=$((at / $#)) conv=notrunc 2>/dev/null
}

# The capability of vendor type TYPE
capability()
{
	cap=$((0x$(get 52 1)))
	while [ "$cap" -gt 0 ]; do
		[ "$(get $cap 1)" = 09 ] && [ "$(get $((cap + 3)) 1)" = "$1" ] && break
		cap=$((0x$(get $((cap + 1)) 1)))
	done
	echo "$cap"
}

# window OFFSET LENGTH: of BAR 0, below 256, OFFSET in octal
window()
{
	put $((cap + 4)) 0
	put $((cap + 8)) "$1" 0 0 0
	put $((cap + 12)) "$2" 0 0 0
	get $((cap + 16)) "$2"
}

before=$(get 0 4)
cap=$(capability 05)
check "there is a window" [ "$cap" -gt 0 ]
check "it points nowhere at first" [ "$(get $((cap + 16)) 4)" = ffffffff ]
check "num_queues is 2" [ "$(window 22 2)" = 0002 ]
check "device_status is 15" [ "$(window 24 1)" = 0f ]
check "queue_size is 256" [ "$(window 30 2)" = 0100 ]
check "the function is the one that it was" [ "$(get 0 4)" = "$before" ]
test_ping "$(peer "$1")" 2
test_clean
done_testing
