#!/bin/sh
# disk.sh MODE [ARG]: the first disk. rw [discard]: what was written is read again, several writers at once, a file system; ro: it is
# not written; rebind N: the driver is unbound and bound N times while it reads and writes; sync: writes numbered blocks
# and says after each how many are on the medium, until it is ended; image: a file system with files, for others;
# load ...: disk-load's figures; rounds N: several writers, N times, each said; returns N: the same N times, each followed by a rest, then one that reads
# without end, whose back end ends.
. /t/tap.sh

mode=${1:?}
disk=/dev/vda
sys=/sys/block/vda

sum_of() # SKIP COUNT, in MiB
{
	dd if=$disk bs=1M skip="$1" count="$2" 2>/dev/null | md5sum
}

# Four writers on quarters of the disk, past the guest's cache, then all of it read again
several_writers()
{
	quarter=$(($(cat $sys/size) / 2048 / 4))
	for i in 0 1 2 3; do
		dd if=/dev/urandom of=/tmp/data.$i bs=64k count=$((quarter * 16 / 4)) 2>/dev/null
		dd if=/tmp/data.$i of=$disk bs=64k seek=$((quarter * 16 * i)) oflag=direct 2>/dev/null &
	done
	wait
	echo 3 >/proc/sys/vm/drop_caches
	for i in 0 1 2 3; do
		dd if=$disk bs=64k skip=$((quarter * 16 * i)) count=$((quarter * 16 / 4)) iflag=direct 2>/dev/null | cmp - /tmp/data.$i || return
	done
}

file_system()
{
	mke2fs -q -b 4096 $disk >/dev/null 2>&1 && mkdir -p /tmp/mnt && mount -t ext4 $disk /tmp/mnt || return
	cp -r /bin /t /tmp/mnt/ && cp /tmp/data.0 /tmp/mnt/data || return
	sync
	umount /tmp/mnt && mount -t ext4 -o ro $disk /tmp/mnt || return
	cmp /tmp/data.0 /tmp/mnt/data && cmp /bin/busybox /tmp/mnt/bin/busybox
	status=$?
	umount /tmp/mnt
	return $status
}

# What is discarded of a file is zeros then (others may have something else there); the host looks whether its room came back.
discard()
{
	blkdiscard -o $((24 << 20)) -l $((32 << 20)) $disk || return
	[ "$(dd if=$disk bs=1M skip=24 count=32 iflag=direct 2>/dev/null | tr -d '\0' | wc -c)" = 0 ]
}

test_rw()
{
	check "$(cat $sys/size) sectors of $(cat $sys/queue/logical_block_size) bytes" [ -b $disk ]
	echo "# serial $(cat $sys/serial), $(ls $sys/mq | wc -l) queues, cache: $(cat $sys/queue/write_cache)"
	check "what several wrote is there" several_writers
	check "a file system keeps its files" file_system
	[ "$1" != discard ] || check "what is discarded is gone" discard
	# the host looks for these
	yes microvm | head -c 1048576 >/tmp/mark
	check "a mark for the host, flushed" dd if=/tmp/mark of=$disk bs=64k conv=fsync
	grep virtio /proc/interrupts | sed 's/^/# /'
}

test_ro()
{
	check "it is read-only" [ "$(cat $sys/ro)" = 1 ]
	check "it can be read" dd if=$disk of=/dev/null bs=1M
	check "it cannot be written" sh -c "! dd if=/dev/zero of=$disk bs=4096 count=1 oflag=direct"
}

wait_for_disk()
{
	tries=0
	until [ -b "$disk" ] || [ $tries = 100 ]; do
		tries=$((tries + 1))
		sleep 0.02
	done
}

rebind()
{
	dd if=$disk of=/dev/null bs=64k iflag=direct 2>/dev/null &
	dd if=/dev/zero of=$disk bs=4k count=2000 oflag=direct 2>/dev/null &
	echo "$device" >$driver/unbind && echo "$device" >$driver/bind || return
	wait
	# another name where the old one was still open
	disk=/dev/$(ls "/sys/bus/virtio/devices/$device/block")
	wait_for_disk
	dd if="$disk" of=/dev/null bs=4096 count=4 iflag=direct 2>/tmp/err || { echo "# '$disk': $(tail -n 1 /tmp/err)"; return 1; }
}

test_rebind()
{
	driver=/sys/bus/virtio/drivers/virtio_blk
	device=$(basename "$(readlink $sys/device)")
	test_rebinds disk "$1" rebind
}

test_image()
{
	check "a file system is made" mke2fs -q -b 4096 $disk
	mkdir -p /tmp/mnt
	check "and mounted" mount -t ext4 $disk /tmp/mnt
	cp -r /bin /t /tmp/mnt/
	(cd /tmp/mnt && find bin t -type f -exec md5sum {} + >sums)
	check "and left whole" umount /tmp/mnt
}

test_sync()
{
	i=0
	while :; do
		i=$((i + 1))
		printf '%-511s\n' "block $i" >/tmp/block
		dd if=/tmp/block of=$disk bs=512 seek=$i conv=fsync,notrunc 2>/dev/null || break
		echo "synced $i"
	done
}

test_rounds()
{
	rounds=0
	while [ $rounds -lt "$1" ]; do
		echo "disk: round $((rounds + 1)) begins"
		several_writers || break
		rounds=$((rounds + 1))
	done
	check "what several wrote is there, $rounds of $1 times" [ $rounds = "$1" ]
}

test_returns()
{
	rests=0
	while [ $rests -lt "$1" ]; do
		several_writers || break
		sync
		rests=$((rests + 1))
		echo "disk: at rest, $rests"
		read -r _
	done
	check "what several wrote is there, $rests of $1 times" [ $rests = "$1" ]
	status=$(readlink -f $sys/device)/status
	check "the device is well" [ $(($(cat "$status") & 64)) = 0 ]
	while dd if=$disk of=/dev/null bs=64k iflag=direct 2>/dev/null; do :; done &
	echo "disk: reading"
	read -r _
	check "and needs a reset in the end" [ $(($(cat "$status") & 64)) = 64 ]
}

case $mode in
returns) test_returns "$2" ;;
rounds) test_rounds "$2" ;;
rw) test_rw "$2" ;;
ro) test_ro ;;
rebind) test_rebind "$2" ;;
sync) test_sync ;;
image) test_image ;;
load) shift; disk-load $disk "$@" ;;
esac
test_clean
done_testing
