# shellcheck shell=sh
# Disks: what the guest wrote is in the file, and what is no disk is refused.

# make_disk FILE MIB: in work/, random
make_disk()
{
	mkdir -p work
	dd if=/dev/urandom of="work/$1" bs=1M count="$2" 2>/dev/null
}

# disk_guest TEST OPTIONS...: a guest of the small kernel that runs it, and must pass
disk_guest()
{
	t=$1
	shift
	$BOOT --expect 'guest: disk status 0' --until-exit --verbose --fail-on 'guest: disk status [1-9]|nobody cared|Kernel panic|I/O error' -- \
		--kernel Image --initrd initrd.test --memory 384 --cmdline "quiet t=disk,$t" "$@" || exit 1
}

# disk_rw TRANSPORT CPUS KEYS...: written, read, a file system; then the host reads what the guest has flushed
disk_rw()
{
	transport=$1 cpus=$2
	make_disk a 64
	words=rw
	[ "$3" != discard ] || words=rw,discard
	disk_guest $words --cpus "$cpus" --disk "work/a,transport=$transport${3:+,$3}"
	head -c 1048576 work/a | grep -vqx microvm && fail "the host does not find the mark"
	[ "$(head -c 8 work/a)" = microvm ] || fail "the host does not find the mark"
	[ "$(stat -c %s work/a)" = $((64 * 1048576)) ] || fail "the file has $(stat -c %s work/a) bytes now"
	case $3 in discard) [ "$(stat -c %b work/a)" -le $((32 * 2048 + 2048)) ] || fail "of what was discarded the host has nothing back: $(stat -c %b work/a) sectors" ;; esac
}

# disk_limited KEYS BYTES LEAST MOST: reads of so many bytes, several at a time for five seconds, are so many a second
disk_limited()
{
	make_disk a 64
	disk_guest "load,$2,8,5,random" --disk "work/a,$1" >log
	cat log
	rate=$(awk '/disk-load: / { sub(/.*disk-load: /, ""); printf "%d", $1 * 1000000 / $4 }' log)
	[ "$rate" -ge "$3" ] && [ "$rate" -le "$4" ] || fail "$rate reads a second with $1"
	echo "figure: $rate reads of $2 bytes a second with $1"
}

# A block device, of which O_DIRECT wants aligned requests
disk_block_device()
{
	only_in_the_emulated_host
	make_disk a 64
	loop=$(losetup -f) && losetup "$loop" work/a || skip "no loop device"
	[ -z "$AS_USER" ] || chmod a+rw "$loop"
	( disk_guest rw,discard --disk "$loop,direct,discard" )
	status=$?
	losetup -d "$loop"
	return $status
}

# Two guests read it at the same time, and nothing is written.
disk_ro()
{
	make_disk a 16
	sum=$(md5sum <work/a)
	$M --kernel Image --initrd initrd.tiny --cmdline "quiet tiny=sleep:60" --disk work/a,ro >out 2>err &
	pid=$!
	wait_for out 'init: up'
	disk_guest ro --disk work/a,ro
	expect_error 125 "disk0: 'work/a' is in use" $M --kernel null.Image --disk work/a
	end_guest
	[ "$(md5sum <work/a)" = "$sum" ] || fail "the file has changed"
	$M --kernel Image --initrd initrd.tiny --cmdline "quiet tiny=sleep:60" --disk work/a >out 2>err &
	pid=$!
	wait_for out 'init: up'
	expect_error 125 "disk0: 'work/a' is written by another VM" $M --kernel null.Image --disk work/a,ro
	end_guest
	expect_error 125 "disk1: 'work/a' is in use" $M --kernel null.Image --disk work/a,id=other --disk work/a
}

# disk_rebind TRANSPORT N: the driver is unbound and bound N times while it reads and writes
disk_rebind()
{
	make_disk a 16
	rebind_guest disk "rebind,$2" "$2" --disk "work/a,transport=$1"
	! grep 'I/O error' out || fail 'a request failed'
}

# What the guest was told to be written is in the file after kill -9.
# disk_killed TIMES: a guest that says what it has flushed is killed at a moment that nobody chose; what it said is there
disk_killed()
{
	make_disk a 16
	said=0
	for turn in $(seq 1 "$1"); do
		$M --kernel Image --initrd initrd.test --cmdline "quiet t=disk,sync" --disk work/a >out 2>err &
		pid=$!
		wait_for out 'synced 1'
		usleep $(($(od -An -N2 -tu2 /dev/urandom) * 20))
		kill -9 $pid
		wait $pid 2>/dev/null
		n=$(sed -n 's/^synced \([0-9]*\).*/\1/p' out | tail -n 1)
		for i in $(seq 1 "$n"); do
			got=$(dd if=work/a bs=512 skip="$i" count=1 2>/dev/null | tr -d ' ')
			[ "$got" = "block$i" ] || fail "turn $turn: block $i of $n is not there"
		done
		dd if=/dev/zero of=work/a bs=512 count=$((n + 2)) conv=notrunc 2>/dev/null
		said=$((said + n))
	done
	echo "figure: killed $1 times, after $said flushes in all: each is there"
}

# A guest with the first of two disks in trouble, as t=trouble[,WORD] says; $pid, and lines for it by descriptor 8.
trouble_guest() # WORDS OPTIONS...
{
	words=$1
	shift
	make_disk b 16
	mkfifo work/in
	$M --kernel Image --initrd initrd.test --cpus 2 --cmdline "quiet t=$words" --timeout 200 "$@" --disk work/b <work/in >out 2>err &
	pid=$!
	exec 8>work/in
}

trouble_over() # STATUS, of the host's part
{
	exec 8>&-
	[ "$1" = 0 ] || kill -9 $pid
	wait $pid
	got=$?
	cat out err
	[ "$1" = 0 ] && [ $got = 0 ] && grep -q 'guest: trouble status 0' out && ! grep -v '^microvm: disk0: ' err
}

# The host's file system is full, the file is cut off under the guest, and loses its name: requests fail, or do not, and no more.
disk_trouble()
{
	only_in_the_emulated_host
	mkdir -p work/d
	mount -t tmpfs -o size=4M tmpfs work/d
	truncate -s 16M work/d/a
	trouble_guest trouble --disk work/d/a
	( wait_for out 'guest: full'
	  truncate -s 128K work/d/a
	  echo >&8
	  wait_for out 'guest: cut'
	  rm work/d/a
	  echo >&8 )
	trouble_over $?
	status=$?
	umount work/d
	[ $status = 0 ] || fail "status $got"
	grep -q 'No space left' err && [ "$(wc -l <err)" -le 12 ] || fail "these lines: $(cat err)"
}

# null_disk NAME ATTRIBUTE=VALUE...: a block device of the host's of 16 MiB, work/NAME
null_disk()
{
	only_in_the_emulated_host
	[ -d /sys/module/null_blk ] || skip 'no null_blk'
	grep -q configfs /proc/mounts || mount -t configfs configfs /sys/kernel/config
	null=/sys/kernel/config/nullb/$1
	name=$1
	shift
	mkdir "$null"
	for attribute in size=16 irqmode=2 "$@" power=1; do
		echo "${attribute#*=}" >"$null/${attribute%%=*}"
	done
	mkdir -p work
	# shellcheck disable=SC2046 # two numbers
	mknod "work/$name" b $(tr : ' ' <"/sys/block/$name/dev")
}

# A device of the host's with blocks of 4 KiB, past the host's cache: the guest's disk has such, too
disk_large_blocks()
{
	null_disk large size=64 memory_backed=1 blocksize=4096
	( disk_guest rw --cpus 2 --disk work/large,direct )
	status=$?
	rmdir "$null"
	return $status
}

# A device of the host's whose requests take ten seconds each: nobody else waits.
disk_slow()
{
	null_disk slow completion_nsec=10000000000
	echo 60000 >/sys/block/slow/queue/io_timeout
	trouble_guest trouble,slow --disk work/slow,ro
	trouble_over 0
	status=$?
	rmdir "$null"
	[ $status = 0 ] || fail "status $got"
	[ ! -s err ] || fail "it said: $(cat err)"
}

# disk_fails KEYS: a device of the host's with 64 KiB that are bad: requests there fail, with lines that say so; where the host's cache
# takes what is written, the flush does
disk_fails()
{
	null_disk failing memory_backed=1 badblocks=+512-639
	trouble_guest trouble,fails --disk "work/failing,$1"
	trouble_over 0
	status=$?
	rmdir "$null"
	[ $status = 0 ] || fail "status $got"
	grep -q 'disk0: .*: I/O error' err && [ "$(wc -l <err)" -le 12 ] || fail "these lines: $(cat err)"
}

disk_bad()
{
	mkdir -p work/d
	: >work/f0
	head -c 1000 /dev/urandom >work/f1
	mkfifo work/f2
	head -c 4096 /dev/urandom >work/f3
	expect_error 125 "disk0: open 'work/f9': No such file" $M --kernel null.Image --disk work/f9
	expect_error 125 "disk0: 'work/d' is a directory" $M --kernel null.Image --disk work/d
	expect_error 125 "disk0: 'work/f0' is empty" $M --kernel null.Image --disk work/f0
	expect_error 125 "disk0: 'work/f1' has 1000 bytes, no multiple of 512" $M --kernel null.Image --disk work/f1
	expect_error 125 "disk0: 'work/f2' is neither a file nor a block device" $M --kernel null.Image --disk work/f2
	expect_error 125 "disk0: '/dev/null' is neither a file nor a block device" $M --kernel null.Image --disk /dev/null
	expect_error 125 "disk0: fd=9: not an open" $M --kernel null.Image --disk fd=9
	expect_error 125 'ro and discard exclude' $M --kernel null.Image --disk work/f3,ro,discard
	expect_error 125 'neither a file nor fd=' $M --kernel null.Image --disk ro=on
	expect_error 125 "fd=7: not open for writing" sh -c "exec $M --kernel null.Image --disk fd=7 7<work/f3"
	timeout 20 $M --kernel null.Image --disk fd=7,ro 7<work/f3 || fail "status $? with an inherited one"
	mount -t tmpfs -o ro tmpfs work/d && cp work/f3 work/f4
	mount -o remount,rw work/d && cp work/f3 work/d/f && mount -o remount,ro work/d
	( expect_error 125 "disk0: open 'work/d/f': Read-only file system \\(read-only would be: ro\\)" $M --kernel null.Image --disk work/d/f
	  timeout 20 $M --kernel null.Image --disk work/d/f,ro || fail "status $? on a read-only file system" )
	status=$?
	umount work/d
	return $status
}
