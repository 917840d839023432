# shellcheck shell=sh
# A balloon: what the guest does not need any more is the host's again.

# balloon_guest MODE OPTION TRANSPORT: in the background, as $pid, as far as it is up
balloon_guest()
{
	$M --kernel Image --initrd initrd.test --memory 384 --cmdline "quiet t=balloon,$1" --balloon "$2,transport=$3" \
		--result result.json >out 2>err &
	pid=$!
	wait_for out 'balloon: ready'
}

rss_of() # PID, in KiB
{
	awk '/^VmRSS:/ { print $2 }' "/proc/$1/status"
}

# Three quarters of its memory are used and freed by the guest; then the monitor is as small as before, to a tenth.
balloon_gives_back()
{
	case $1 in
	report) balloon_guest report stats=1s "$2" ;;
	inflate) balloon_guest inflate 288M,reporting=off,stats=1s "$2" ;;
	esac
	before=$(rss_of $pid)
	wait_for out 'balloon: full'
	full=$(rss_of $pid)
	[ "$full" -ge $((288 * 1024)) ] || fail "the guest uses 288 MiB, and the monitor has $full KiB"
	wait_for out 'balloon: freed'
	i=0
	until after=$(rss_of $pid) && [ "$after" -le $((before + before / 10)) ]; do
		i=$((i + 1))
		[ $i -lt 600 ] || fail "$before KiB before, $full with the memory in use, $after after it was freed"
		usleep 100000
	done
	echo "figure: $before KiB before, $full with the memory in use, $after after it was freed"
	dump $pid err
	grep 'balloon0' err
	grep -q 'balloon0: statistics, answer .* free_memory [1-9].* total_memory [1-9]' err || fail "no statistics in the dump"
	grep -q 'failed 0 KiB' err || fail "the host did not take all"
	end_guest
	[ "$(result given_back result.json)" -gt 200000000 ] || fail "the result does not tell: $(cat result.json)"
}

# balloon_press TRANSPORT: a guest short of memory takes back what it gave, before it kills anybody
balloon_press()
{
	balloon_guest press,150 288M,reporting=off "$1"
	wait_for out 'balloon: has'
	dump $pid err
	grep balloon0 err
	end_guest
	cat result.json
	grep -q 'balloon: has 150 MiB' out || fail "it had not: $(tail -n 5 out)"
	! grep -qi 'out of memory' out || fail 'a process was killed'
	[ "$(result deflated result.json)" -gt 50000000 ] || fail "the balloon gave back too little: $(cat result.json)"
}

# As often as it is given and taken, the monitor has the same descriptors.
balloon_rebind()
{
	rebind_guest balloon "rebind,$2" "$2" --balloon "64M,stats=100ms,transport=$1" --result result.json
	grep -q '"balloon0":{"ready_us":[0-9]*,"faults":0}' result.json || fail "$(cat result.json)"
}

balloon_bad()
{
	expect_error 125 'balloon0: size=256M is all' $M --kernel null.Image --balloon 256M
	expect_error 125 'balloon: given twice' $M --kernel null.Image --balloon --balloon
	expect_error 125 "balloon0: vfio0 pins all" $M --kernel null.Image --balloon --vfio 0000:00:02.0
	timeout 20 $M --kernel null.Image --balloon || fail "status $? with a balloon alone"
}
