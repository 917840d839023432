#!/bin/sh
# pmem.sh BYTES SUM: an image in memory of so many bytes and this md5 sum, with a file system made by disk.sh image in it, which
# is mounted read-only. pmem.sh write: it cannot be written. pmem.sh cut: it is read once more when the host
# says so, who has cut it off. pmem.sh rebind BYTES SUM N: its driver is unbound amid reads, and bound, N
# times, and it is read each time, and whole in the end.
. /t/tap.sh

disk=/dev/pmem0
files_are_whole()
{
	mount -t ext4 -o ro $disk /tmp/mnt || return
	(cd /tmp/mnt && md5sum -c sums >/dev/null)
	status=$?
	umount /tmp/mnt
	return $status
}

read_all()
{
	dd if=$disk bs=1M iflag=direct 2>/dev/null | head -c "$1" | md5sum | cut -d' ' -f1
}

mkdir -p /tmp/mnt
if [ "$1" = write ]; then
	before=$(read_all 4096)
	dd if=/dev/zero of=$disk bs=4096 count=1 oflag=direct
	check "the writer has failed" [ $? != 0 ]
	check "nothing was written" [ "$(read_all 4096)" = "$before" ]
	done_testing
	exit
fi
if [ "$1" = cut ]; then
	read_all 4096 >/dev/null
	echo "pmem: read"
	read -r _
	dd if=$disk of=/dev/null bs=1M iflag=direct
	exit
fi
driver=/sys/bus/virtio/drivers/virtio_pmem
rebind()
{
	dd if=$disk of=/dev/null bs=64k 2>/dev/null &
	echo "$device" >$driver/unbind && echo "$device" >$driver/bind || return
	wait $!
	# Linux makes it in a thread of its own; another number where the old one was still open
	tries=0
	until disk=$(echo /dev/pmem*) && [ -b "$disk" ] || [ $tries = 100 ]; do
		tries=$((tries + 1))
		sleep 0.05
	done
	[ "$(read_all 1048576)" = "$first" ]
}

if [ "$1" = rebind ]; then
	device=$(basename $driver/virtio*)
	first=$(read_all 1048576)
	read_all "$2" >/dev/null # what is mapped then is not the monitor's
	test_rebinds pmem "$4" rebind
	check "and it is what the host has" [ "$(read_all "$2")" = "$3" ]
	test_clean
	done_testing
	exit
fi
check "$1 bytes, in whole blocks of 2 MiB" [ "$(cat /sys/block/pmem0/size)" = $((($1 + 2097151) / 2097152 * 4096)) ]
check "what is read is what the host has" [ "$(read_all "$1")" = "$2" ]
check "its files are whole" files_are_whole
echo "pmem: read"
read -r _
test_clean
done_testing
