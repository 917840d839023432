# shellcheck shell=sh
# shellcheck disable=SC2086 # options of several words
# Nothing is used up in the host: by starts and ends, by resets of a device, by a VM that is killed.

# What the host may have more of afterwards, in KiB. unavailable: a page for each of 2,000 starts, since free pages that a CPU
# holds back are not counted as free. slab, which settle_host() makes exact to some tens, and percpu, whose pages stay once they
# were wanted: 128 bytes for each. Open files: each CPU counts up to 32 by itself before it tells.
may_grow='unavailable 8192
slab 256
percpu 256
files 64'

# What the kernel only keeps for later is given back: caches, and free objects that SLUB holds for each CPU.
drop_caches()
{
	echo 3 >/proc/sys/vm/drop_caches
	for c in /sys/kernel/slab/*/shrink; do
		echo 1 >"$c"
	done
}

# Twice, since RCU and the threads that take namespaces apart come behind
settle_host()
{
	drop_caches
	sleep 1
	drop_caches
}

memory_now()
{
	settle_host
	awk '/^MemTotal:/ { all = $2 } /^MemAvailable:/ { print "unavailable", all - $2 }
		/^SUnreclaim:/ { print "slab", $2 } /^Percpu:/ { print "percpu", $2 }' /proc/meminfo
	read -r files _ </proc/sys/fs/file-nr
	echo "files $files"
}

# What has a name and must be the same: processes and the kernel's threads but its workers, mounts, cgroups, interfaces
host_now()
{
	for p in /proc/[0-9]*; do
		read -r name 2>/dev/null <"$p/comm" || continue
		case $name in kworker/*) ;; *) echo "process $name" ;; esac
	done >work/names
	sort work/names
	cat /proc/self/mountinfo
	find /sys/fs/cgroup -type d
	ip -d link
	ip -4 addr
	ip tuntap
}

note_host()
{
	memory_now >work/memory.before
	host_now >work/host.before
}

# Has anything grown by more than it may? What has goes to work/grown.
memory_is_kept()
{
	memory_now >work/memory.after
	awk 'NR == FNR { was[$1] = $2; next } { print $1, $2 - was[$1] }' work/memory.before work/memory.after >work/grown
	echo "$may_grow" | awk 'NR == FNR { most[$1] = $2; next } $2 > most[$1] { bad = 1 } END { exit bad }' - work/grown
}

# host_kept WHAT: since note_host
host_kept()
{
	i=0
	until host_now >work/host.after; cmp -s work/host.before work/host.after; do
		i=$((i + 1))
		[ $i -lt 100 ] || fail "$1: $(diff work/host.before work/host.after)"
		usleep 100000
	done
	i=0
	until memory_is_kept; do
		i=$((i + 1))
		[ $i -lt 5 ] || fail "$1: the host's memory, or its open files, grew: $(tr '\n' ' ' <work/grown)"
	done
	echo "figure: $1, growth in KiB, and of open files: $(tr '\n' ' ' <work/grown)"
}

# leaks_starts N OPTIONS...: the null guest N times, with the sandbox
leaks_starts()
{
	only_in_the_emulated_host
	n=$1
	shift
	mkdir work
	lay_tap tap0
	run="./microvm --irq-check --kernel null.Image $*"
	# what only the first ones need: modules' memory, slabs, workers
	./runs $((n < 50 ? 20 : 50)) $run || fail 'the first starts'
	note_host
	./runs "$n" $run || fail 'a start'
	host_kept "$n starts and ends${1:+ with $*}"
	tap_kept tap0 "$n starts"
}

# leaks_resets N TRANSPORT VHOST: each device, N times
leaks_resets()
{
	only_in_the_emulated_host
	export HOSTILE_OPTIONS='--slab --verbose'
	( hostile 'state-resets-*' "$2" "$3" "resets=$1" ) >resets.log
	status=$?
	cat resets.log
	sed -n "s/^ok state-resets-/figure: $1 resets, $2, vhost=$3: /p" resets.log
	rm -f resets.log
	return $status
}

# vm_on TAP-NUMBER: a guest that answers pings, in a cgroup of its own; its process is in work/pid.NUMBER
vm_on()
{
	$M $tiny --cmdline "ip4=192.168.$((80 + $1)).2/24 tiny=hang" --net "tap$1" --cgroup "/sys/fs/cgroup/vm$1" \
		>"work/out.$1" 2>"work/err.$1" &
	echo $! >"work/pid.$1"
}

answers()
{
	i=0
	until ping -q -c 1 -W 2 "192.168.$((80 + $1)).2" >/dev/null; do
		i=$((i + 1))
		[ $i -lt 30 ] || fail "the guest on tap$1 does not answer: $(cat "work/out.$1" "work/err.$1")"
	done
}

# killed NUMBER: nothing of it is left, and its tap is free
killed()
{
	read -r pid <"work/pid.$1"
	kill -KILL "$pid"
	wait "$pid"
	./tap-state "tap$1" || fail "tap$1 is in use"
	! grep -sqx "vhost-$pid" /proc/[0-9]*/comm || fail "vhost's thread is left"
	rmdir "/sys/fs/cgroup/vm$1" || fail "the cgroup is in use: $(cat "/sys/fs/cgroup/vm$1/cgroup.procs")"
}

# leaks_killed N: one of N running VMs is killed; the others answer, a new one takes its tap, and it is as before
leaks_killed()
{
	only_in_the_emulated_host
	[ -e /sys/fs/cgroup/cgroup.procs ] || skip "no cgroup v2 here"
	mkdir work
	vms=$(seq 1 "$1")
	for v in $vms; do
		lay_tap "tap$v"
		ip addr add "192.168.$((80 + v)).1/24" dev "tap$v"
	done
	note_host
	( ends_one_of_them "$1" )
	status=$?
	[ $status = 0 ] || { end_leftovers; usleep 300000; }
	for v in $vms; do
		[ ! -e "/sys/fs/cgroup/vm$v" ] || rmdir "/sys/fs/cgroup/vm$v"
	done
	[ $status = 0 ] || return $status
	host_kept "one of $1 VMs killed"
}

ends_one_of_them()
{
	victim=$(($1 / 2))
	for v in $vms; do
		mkdir "/sys/fs/cgroup/vm$v"
		vm_on "$v"
	done
	for v in $vms; do
		answers "$v"
	done
	killed $victim
	for v in $vms; do
		[ "$v" = $victim ] || answers "$v"
	done
	mkdir "/sys/fs/cgroup/vm$victim"
	vm_on $victim
	for v in $vms; do
		answers "$v"
	done
	for v in $vms; do
		pid=$(cat "work/pid.$v")
		end_guest "work/err.$v"
	done
}
