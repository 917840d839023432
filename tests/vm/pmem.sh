# shellcheck shell=sh
# Images in memory: several VMs read one page cache, and none writes it.

# An image with a file system, 17 MiB and 512 bytes: work/a, $sum
pmem_image()
{
	make_disk a 17
	disk_guest image --disk work/a
	head -c 512 /dev/urandom >>work/a
	bytes=$(stat -c %s work/a)
	sum=$(md5sum <work/a | cut -d' ' -f1)
}

# pmem_guest NUMBER KERNEL OPTIONS...: one that reads all of it and stays; $pid
pmem_guest()
{
	number=$1 kind=$2
	shift 2
	mkfifo "work/in.$number"
	$M --kernel "$(kernel "$kind")" --initrd "$(initrd "$kind")" --cmdline "quiet t=pmem,$bytes,$sum" --timeout 300 "$@" \
		<"work/in.$number" >"work/out.$number" 2>"work/err.$number" &
	pid=$!
}

# of_mapping PID FIELD: of the image's, in KiB
of_mapping()
{
	awk -v field="$2:" '/^[0-9a-f]+-[0-9a-f]+ / { ours = $NF ~ /work\/a$/ } ours && $1 == field { sum += $2 } END { print sum + 0 }' "/proc/$1/smaps"
}

pmem_over() # NUMBER PID
{
	wait "$2"
	got=$?
	cat "work/out.$1" "work/err.$1"
	[ $got = 0 ] && grep -q 'guest: pmem status 0' "work/out.$1" && [ ! -s "work/err.$1" ] || fail "status $got"
}

# pmem_share TRANSPORT KERNEL: two guests read one image, whose pages are there once
pmem_share()
{
	pmem_image
	pmem_guest 1 "$2" --pmem "work/a,ro,transport=$1"
	one=$pid
	pmem_guest 2 "$2" --pmem "work/a,ro,transport=$1"
	two=$pid
	exec 7>work/in.1 8>work/in.2
	( wait_for work/out.1 'pmem: read'
	  wait_for work/out.2 'pmem: read'
	  ! grep 'not ok' work/out.1 || fail 'the guest could not read it'
	  rss=$(of_mapping $one Rss) own=$(($(of_mapping $one Private_Clean) + $(of_mapping $one Private_Dirty)))
	  [ "$rss" -ge 16384 ] || fail "$rss KiB of the image are mapped"
	  [ $own -le 64 ] || fail "of $rss KiB, $own are not shared"
	  expect_error 125 "disk0: 'work/a' is in use" $M --kernel null.Image --disk work/a
	  echo "figure: an image over $1: $rss KiB of it mapped in each of two VMs, $own KiB of these not shared" )
	status=$?
	echo >&7
	echo >&8
	exec 7>&- 8>&-
	pmem_over 1 $one
	pmem_over 2 $two
	[ "$(md5sum <work/a | cut -d' ' -f1)" = "$sum" ] || fail 'the image has changed'
	return $status
}

# A write is no fault of the monitor's: the guest has an external abort, and the file is what it was.
pmem_written()
{
	pmem_image
	timeout 120 $M --kernel Image --initrd initrd.test --cmdline "quiet t=pmem,write" --pmem work/a,ro >out 2>err </dev/null
	got=$?
	cat out err
	[ $got = 0 ] && grep -q 'guest: pmem status 0' out || fail "status $got"
	[ "$(md5sum <work/a | cut -d' ' -f1)" = "$sum" ] || fail 'the image has changed'
}

# pmem_rebind TRANSPORT N: its driver goes amid a read, and comes back
pmem_rebind()
{
	pmem_image
	rebind_guest pmem "rebind,$bytes,$sum,$2" "$2" --pmem "work/a,ro,transport=$1"
	[ "$(md5sum <work/a | cut -d' ' -f1)" = "$sum" ] || fail 'the image has changed'
}

# Who cuts an image off under a guest that reads it ends the VM, by the documented status and a line.
pmem_cut()
{
	make_disk a 16
	mkfifo work/in
	$M --kernel Image --initrd initrd.test --cmdline "quiet t=pmem,cut" --timeout 120 --pmem work/a,ro <work/in >out 2>err &
	pid=$!
	exec 8>work/in
	( wait_for out 'pmem: read'
	  truncate -s 4096 work/a
	  echo >&8 )
	status=$?
	exec 8>&-
	wait $pid
	got=$?
	cat out err
	[ $status = 0 ] && [ $got = 121 ] && [ "$(wc -l <err)" = 1 ] && grep -q "KVM_RUN: the host could not provide a page of the guest's memory" err || fail "status $got"
}

pmem_bad()
{
	mkdir -p work/d
	: >work/f0
	head -c 1000 /dev/urandom >work/f1
	head -c 4096 /dev/urandom >work/f3
	expect_error 125 "pmem0: open 'work/f9': No such file" $M --kernel null.Image --pmem work/f9,ro
	expect_error 125 "pmem0: 'work/d' is a directory" $M --kernel null.Image --pmem work/d,ro
	expect_error 125 "pmem0: 'work/f0' is empty" $M --kernel null.Image --pmem work/f0,ro
	expect_error 125 "pmem0: 'work/f1' has 1000 bytes, no multiple of 512" $M --kernel null.Image --pmem work/f1,ro
	expect_error 125 'pmem0: fd=7: not open for reading alone' sh -c "exec $M --kernel null.Image --pmem fd=7,ro 7<>work/f3"
	timeout 20 $M --kernel null.Image --pmem fd=7,ro 7<work/f3 || fail "status $? with an inherited one"
	expect_error 125 'ro is not given' $M --kernel null.Image --pmem work/f3
	expect_error 125 "disk0: 'work/f3' is in use" $M --kernel null.Image --pmem work/f3,ro --disk work/f3
	truncate -s 100T work/f3 2>/dev/null && expect_error 125 'pmem: images of .* MiB behind .* are more than this host' \
		$M --kernel null.Image --pmem work/f3,ro
	truncate -s 512 work/f3
	timeout 20 $M --kernel null.Image --pmem work/f3,ro --pmem work/f3,ro || fail "status $? with two of the least"
}
