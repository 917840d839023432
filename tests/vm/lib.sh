# shellcheck shell=sh
# What the cases share. A case is a shell function: status 0 is a pass, 77 a skip (say why last).

HOST_IP=192.168.77.1
GUEST_IP=192.168.77.2
# With AS_USER in the environment the VMs are an ordinary user's, who may open what is named here, and is handed taps.
# broker_rights: the capabilities of their processes that connect for sockets
as_user='' tap_owner='' broker_rights=0000000000000002
if [ -n "$AS_USER" ]; then
	# by its path: a case may take PATH away
	as_user="$(command -v setpriv) --reuid=65533 --regid=65533 --clear-groups --inh-caps=-all --ambient-caps=-all "
	tap_owner='user 65533' broker_rights=0000000000000000
	umask 0
	chmod a+rwx .
fi
hand_devices()
{
	[ -z "$AS_USER" ] || chmod a+rw /dev/kvm /dev/net/tun /dev/vhost-net /dev/vhost-vsock
}
hand_devices
# Every VM here runs with somebody looking on at its interrupts: what breaks one of their invariants ends it with 121.
M=./microvm-checked
# Most guests here have nobody who listens to a power button: the first signal ends them.
printf '#!/bin/sh\nexec %s%s/microvm --irq-check --grace 0 "$@"\n' "$as_user" "$PWD" >$M && chmod +x $M
export MICROVM=$M
BOOT="./boot-test --timeout 120s"
# The smallest Linux guest's options, and before a command: a user who may have one process, of one thread
tiny='--kernel Image --initrd initrd.tiny --cmdline quiet'
no_threads='setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all prlimit --nproc=1'

uptime_ms()
{
	read -r up _ </proc/uptime
	echo $((${up%.*} * 1000 + 1${up#*.} * 10 - 1000))
}

fail()
{
	echo "failed: $*"
	exit 1
}

# Of busybox; an arm64 machine of somebody's may lack it
command -v usleep >/dev/null || usleep()
{
	sleep "$(awk "BEGIN { print $1 / 1000000 }")"
}

# For cases that take something away which others on the machine may need
only_in_the_emulated_host()
{
	[ -e /host/argv ] || skip "only in the emulated host: it would change this machine"
}

skip()
{
	echo "$*"
	exit 77
}

# kernel NAME: its Image (small, stock: Debian's, backports: a newer one of Debian's, full: Debian's for real machines).
# initrd NAME: what goes with it.
kernel()
{
	case $1 in stock | backports | full) echo "./Image.$1" ;; *) echo ./Image ;; esac
}

initrd()
{
	case $1 in small) echo ./initrd.test ;; *) echo "./initrd.$1" ;; esac
}

# make_tap NAME [multi_queue]: a tap with our address, up, and an iperf3 server
make_tap()
{
	# shellcheck disable=SC2086 # two words
	ip tuntap add "$1" mode tap vnet_hdr $tap_owner ${2:+"$2"} || fail "no tap $1"
	ip addr add $HOST_IP/24 dev "$1"
	ip link set "$1" up
	iperf3 -s -D -B $HOST_IP --pidfile /tmp/iperf3.pid >/dev/null 2>&1
}

# What a failed case left running would take the time of those after it.
end_leftovers()
{
	for p in /proc/[0-9]*; do
		[ "$(readlink "$p/exe")" = "$PWD/microvm" ] && kill -9 "${p#/proc/}" && echo "left running: ${p#/proc/}" >>case.log
		# by the folder: on a machine of somebody's others of these names are not ours
		[ "$(readlink "$p/cwd")" = "$PWD" ] || continue
		case $(cat "$p/comm" 2>/dev/null) in qemu-storage-da | virtiofsd | socat | boot-test | dpdk-testpmd) kill -9 "${p#/proc/}" ;; esac
	done
}

clean_up()
{
	end_leftovers
	[ -e /tmp/iperf3.pid ] && kill "$(tr -d '\0' </tmp/iperf3.pid)" 2>/dev/null
	# what a case waits for must not be there from the one before
	rm -rf /tmp/iperf3.pid work out err log report json result.json
	for t in /sys/class/net/tap*; do
		[ ! -e "$t" ] || ip link del "${t##*/}"
	done
	hand_devices # a case may have taken them away
	return 0
}

# The host kernel's log: nothing alarming may join it during a case.
mark_klog()
{
	klog_lines=$(dmesg | wc -l)
}

klog_is_clean()
{
	bad=$(dmesg | tail -n +$((klog_lines + 1)) | grep -E 'WARNING|BUG|Oops|nobody cared|Call trace|rcu.*stall|blocked for more than|soft lockup')
	[ -z "$bad" ] && return 0
	echo "the host kernel says:" >>case.log
	echo "$bad" >>case.log
	return 1
}

# expect_error STATUS PATTERN COMMAND...: ends with STATUS and says one line that matches
expect_error()
{
	want=$1 pattern=$2
	shift 2
	timeout 20 "$@" >out 2>err
	got=$?
	[ $got = "$want" ] || fail "status $got, not $want: $* said: $(cat err)"
	[ "$(wc -l <err)" = 1 ] || fail "not one line: $*: $(cat err)"
	grep -Eq "$pattern" err || fail "no '$pattern' in: $(cat err)"
	[ ! -s out ] || fail "standard output is the console's: $(head -c 200 out)"
	sed 's/^/said: /' err
}

# result KEY FILE: a value of the one-line JSON object
result()
{
	sed -n 's/.*"'"$1"'": *"\{0,1\}\([^",}]*\).*/\1/p' "$2"
}

# guest_log PID: the end of what its kernel has in its own log, of which a quiet one shows nothing; it lies in the first RAM
guest_log()
{
	while read -r range _; do
		start=$((0x${range%-*})) size=$((0x${range#*-} - start))
		[ $size -lt 134217728 ] || break
	done <"/proc/$1/maps"
	[ $size -ge 134217728 ] || return
	dd if="/proc/$1/mem" bs=1M skip=$((start / 1048576)) count=32 2>/dev/null | strings -n 8 |
		awk '/^Linux version / && was ~ /Booting Linux on physical CPU 0x0/ { left = 220 } left-- > 0 { print } { was = $0 }'
}

# look_at PID: what a monitor and its guest are at, twice, for a case that waited in vain
look_at()
{
	[ -d "/proc/$1/task" ] || return 0
	[ -d /sys/kernel/debug/kvm ] || mount -t debugfs debugfs /sys/kernel/debug
	exits=$(cat /sys/kernel/debug/kvm/"$1"-*/exits 2>/dev/null)
	for turn in 1 2; do
		for t in /proc/$1/task/*; do
			echo "$turn: $(cat "$t/comm"): ran $(cat "$t/schedstat"), $(sed -n 's/^State:\t//p' "$t/status"), call $(cat "$t/syscall"), $(tr '\n' ' ' <"$t/stack")"
		done
		grep -s . /sys/kernel/debug/kvm/"$1"-*/*exit* | sed 's/.*\///' | tr '\n' ' '
		echo
		sleep 2
	done
	exits=$(($(cat /sys/kernel/debug/kvm/"$1"-*/exits 2>/dev/null) - exits))
	kill -USR1 "$1"
	guest_log "$1" >guest.log
	# a fault that the kernel takes for settled, and the CPU does not: nobody asks the monitor
	[ $exits -lt 10000 ] || [ -s guest.log ] || echo "KVM goes round: $exits exits in 4 s, and the guest has not begun"
	echo "the guest's log:"
	cat guest.log
}

# wait_for FILE PATTERN [SECONDS]: up to 60 s
wait_for()
{
	i=0
	until grep -Eq "$2" "$1" 2>/dev/null; do
		i=$((i + 1))
		if [ $i -ge $((${3:-60} * 10)) ]; then
			[ -z "$pid" ] || look_at "$pid"
			cat err log 2>/dev/null
			fail "no '$2' in $1: $(tail -n 5 "$1")"
		fi
		usleep 100000
	done
}

# end_guest [STDERR-FILE]: $pid, by SIGTERM. What --irq-check finds at the end makes another status of it.
end_guest()
{
	kill -TERM $pid 2>/dev/null
	wait $pid
	got=$?
	[ $got = 143 ] || fail "status $got, not 143: $(cat "${1:-err}")"
}

# name_goes PATH: a listener's name and the process that keeps it are gone, a moment after the VM's end
name_goes()
{
	i=0
	while [ -e "$1" ] || grep -qs microvm-broker /proc/[0-9]*/comm; do
		i=$((i + 1))
		[ $i -lt 100 ] || fail "left behind: $(ls "${1%/*}") $(grep -l microvm-broker /proc/[0-9]*/comm)"
		usleep 50000
	done
}

fds_of() # PID
{
	ls "/proc/$1/fd" | wc -l
}

# own_kib PID: what a monitor has of memory, but its guest's, which is 128 MiB or more at a piece
own_kib()
{
	awk '/^Size:/ { guest = $2 >= 131072 } /^Rss:/ && !guest { sum += $2 } END { print sum }' "/proc/$1/smaps"
}

# rebinds NAME N: of a running guest, $pid, that says "NAME: ready" and "NAME: N rebinds": the monitor has the same descriptors, a moment
# after, and not more memory but for some pages that its first requests of a kind touch
rebinds()
{
	wait_for out "$1: ready"
	before=$(fds_of $pid) memory=$(own_kib $pid)
	i=0
	until grep -q "$1: $2 rebinds" out; do
		i=$((i + 1))
		[ $i -lt $((1200 + 50 * $2)) ] || fail "not all rebinds: $(tail -n 3 out)"
		usleep 100000
	done
	i=0
	until after=$(fds_of $pid) && [ "$before" = "$after" ]; do
		i=$((i + 1))
		[ $i -lt 50 ] || fail "$before descriptors before, $after after"
		usleep 100000
	done
	[ $(($(own_kib $pid) - memory)) -le 64 ] || fail "$memory KiB before, $(own_kib $pid) after"
	echo "figure: $2 rebinds, $1: $before descriptors, memory $(($(own_kib $pid) - memory)) KiB"
}

# guest_over STATUS NAME: after the host's part, which ended so, a line for a guest that waits on descriptor 8; it ends well
guest_over()
{
	echo >&8
	exec 8>&-
	wait $pid
	got=$?
	cat out err
	[ "$1" = 0 ] && [ $got = 0 ] && grep -q "guest: $2 status 0" out || fail "status $got"
}

# rebind_guest NAME WORDS N OPTIONS...: a guest that runs t=NAME,WORDS, as rebinds() wants it, and then waits for a line
rebind_guest()
{
	name=$1 words=$2 n=$3
	shift 3
	mkdir -p work
	mkfifo work/in
	$M --kernel Image --initrd initrd.test --cpus 2 --cmdline "quiet t=$name,$words" --timeout $((200 + 10 * n)) "$@" \
		<work/in >out 2>err &
	pid=$!
	exec 8>work/in
	( rebinds "$name" "$n" )
	guest_over $? "$name"
}

# dump PID LOG: asks a running monitor for its table and waits for it
dump()
{
	dumps=$(grep -c commits "$2")
	kill -USR1 "$1"
	i=0
	while [ "$(grep -c 'commits' "$2")" = "$dumps" ]; do
		i=$((i + 1))
		[ $i -lt 100 ] || fail "no dump in $2"
		usleep 50000
	done
	usleep 200000
}
