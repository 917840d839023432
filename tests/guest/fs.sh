#!/bin/sh
# fs.sh TAG: the host's folder of that name. Its tree is what the host's list of sums says; a tree of the guest's is
# written into it, for the host to look at; many small files come and go.
# fs.sh TAG build: a Debian with a compiler is the folder 'gcc', and what it builds with two at a time is in TAG.
# fs.sh TAG rebind N: its driver is unbound amid reads and bound N times, and each time a file is read.
# fs.sh TAG returns: its back end ends, twice, and another one comes: its status says so, and after a rebind a file is read.
. /t/tap.sh

same_tree()
{
	(cd /tmp/mnt/from-host && md5sum -c ../sums >/dev/null)
}

small_files()
{
	mkdir /tmp/mnt/small || return
	for i in $(seq 1 100); do
		echo "file $i" >"/tmp/mnt/small/$i" || return
	done
	[ "$(ls /tmp/mnt/small | wc -l)" = 100 ] && [ "$(cat /tmp/mnt/small/*  | sort -u | wc -l)" = 100 ] && rm -r /tmp/mnt/small
}

write_tree()
{
	mkdir /tmp/mnt/from-guest && cp -r /bin /t /tmp/mnt/from-guest/ || return
	dd if=/dev/urandom of=/tmp/mnt/from-guest/large bs=64k count=128 2>/dev/null || return
	(cd /tmp/mnt/from-guest && find . -type f -exec md5sum {} + >../sums-of-guest) && sync
}

driver=/sys/bus/virtio/drivers/virtiofs
rebind()
{
	echo "$device" >$driver/unbind && echo "$device" >$driver/bind && mount -t virtiofs "$1" /tmp/mnt || return
	cat /tmp/mnt/file >/tmp/file
	umount /tmp/mnt && [ "$(cat /tmp/file)" = "of the host" ]
}

rebind_amid_reads()
{
	mount -t virtiofs "$1" /tmp/mnt || return
	for reader in 1 2 3; do
		while cat /tmp/mnt/file >/dev/null 2>&1; do :; done &
	done
	usleep 50000
	echo "$device" >$driver/unbind || return
	wait
	umount /tmp/mnt && echo "$device" >$driver/bind && rebind "$1"
}

mkdir -p /tmp/mnt
if [ "$2" = rebind ]; then
	device=$(basename $driver/virtio*)
	test_rebinds fs "$3" rebind_amid_reads "$1"
	test_clean "virtio_fs_enqueue_req\(\) failed -107" # reads that came after it
	done_testing
	exit
fi
if [ "$2" = build ]; then
	mkdir -p /tmp/root
	check "the compiler's root is mounted" mount -t virtiofs -o ro gcc /tmp/root
	check "the folder is mounted in it" mount -t virtiofs "$1" /tmp/root/mnt
	mount --bind /dev /tmp/root/dev
	export TMPDIR=/mnt
	check "it is built" chroot /tmp/root /usr/bin/make -C /mnt -j2
	check "and there is nothing more to do" chroot /tmp/root /usr/bin/make -C /mnt -q
	umount /tmp/root/dev /tmp/root/mnt /tmp/root
	test_clean
	done_testing
	exit
fi
needs_reset()
{
	[ $(($(cat "/sys/bus/virtio/devices/$device/status") & 64)) = 64 ]
}

if [ "$2" = returns ]; then
	device=$(basename $driver/virtio*)
	check "a file is read" rebind "$1"
	needs_reset
	check "and the device is well" [ $? = 1 ]
	echo "fs: at rest"
	read -r _
	check "the device needs a reset" needs_reset
	check "and after that a file is read" rebind "$1"
	echo "fs: at rest again"
	read -r _
	check "the device needs a reset again" needs_reset
	echo "fs: mounts"
	check "and a file is read when another back end is there" rebind "$1"
	done_testing
	exit
fi
check "the folder $1 is mounted" mount -t virtiofs "$1" /tmp/mnt
check "no folder of another name" sh -c '! mount -t virtiofs another /tmp/mnt 2>/dev/null'
check "the host's tree is whole" same_tree
check "a tree for the host" write_tree
check "100 small files" small_files
umount /tmp/mnt
check "it can be mounted again" mount -t virtiofs "$1" /tmp/mnt
check "and has what was written" cmp /bin/busybox /tmp/mnt/from-guest/bin/busybox
umount /tmp/mnt
grep virtio /proc/interrupts | sed 's/^/# /'
test_clean
done_testing
