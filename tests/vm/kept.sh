# shellcheck shell=sh
# shellcheck disable=SC2086 # options of several words
# What was there stays as it was: files that are given for writing, by a start that is refused, and taps, by any.

outputs='--result work/result --console file=work/console --dump-dtb work/dtb'

# Three files that hold something, as the outputs that $outputs names
lay_files()
{
	mkdir work
	for i in result console dtb; do
		yes "the $i of somebody" | head -n 500 >work/$i
	done
	files_now result console dtb >work/before
}

# files_now NAME...
files_now()
{
	for i in "$@"; do
		stat -c '%n: inode %i, mode %a, %s bytes, of %y' "work/$i" && md5sum "work/$i" || fail "no state of $i"
	done
}

# files_kept WHAT
files_kept()
{
	files_now result console dtb >work/after
	cmp -s work/before work/after || fail "$1: $(diff work/before work/after)"
}

# refused STATUS PATTERN COMMAND...: with outputs that are there
refused()
{
	expect_error "$@" $outputs
	files_kept "$*"
}

# leaves_none STATUS PATTERN COMMAND...: with outputs that are not there
leaves_none()
{
	status=$1 pattern=$2
	shift 2
	expect_error "$status" "$pattern" "$@" --result work/r --console file=work/c --dump-dtb work/d
	for i in c d; do
		[ ! -e work/$i ] || fail "$*: left a file for $i"
	done
	# but why no VM ran
	[ ! -e work/r ] || grep -q '"status":'"$status" work/r || fail "$*: the result is $(cat work/r)"
	rm -f work/r
}

kept_files()
{
	make_tap tap0
	lay_files
	dd if=/dev/urandom of=work/noise bs=4096 count=4 2>/dev/null
	truncate -s 300M work/big
	k="$M --kernel Image"
	refused 125 'nothere' $M --kernel nothere
	refused 125 'noise' $M --kernel work/noise
	refused 125 'initrd.*big' $k --initrd work/big
	refused 125 'initrd.*nothere' $k --initrd nothere
	refused 125 'tap9' $k --net tap9
	refused 125 'tap9' $k --net tap0 --net tap9
	refused 125 'lo' $k --net lo
	refused 125 'queues' $k --net tap0,queues=2
	refused 125 'fd' $k --net fd=99
	refused 125 'nonsense' $k --nonsense
	refused 125 'cpus' $k --cpus 0
	refused 125 'cpus' $k --cpus 1 --cpus 2
	refused 125 'memory' $k --memory banana
	refused 125 'memory' $k --memory 4000G
	refused 125 'irqchip' $k --irqchip nonsense
	refused 125 'has no GICv2' $k --irqchip gicv2
	refused 125 'no PCI device' $k --vfio 0000:ff:1f.7
	refused 125 'config' $k --config nothere
	refused 125 'nowhere' $k --log nowhere/log
	refused 125 'io_uring' ./without-io-uring $k
	leaves_none 125 'nothere' $M --kernel nothere
	leaves_none 125 'tap9' $k --net tap9
	leaves_none 125 'has no GICv2' $k --irqchip gicv2
	leaves_none 125 'io_uring' ./without-io-uring $k
	# one of the outputs itself cannot be had
	expect_error 125 'nowhere' $k --result work/result --console file=nowhere/c --dump-dtb work/dtb
	files_kept 'no console'
	expect_error 125 'nowhere' $k --result work/result --console file=work/console --dump-dtb nowhere/d
	files_kept 'no device tree'
	expect_error 125 'nowhere' $k --result nowhere/r --console file=work/console --dump-dtb work/dtb
	files_kept 'no result'
	# not in somebody's machine
	[ -e /host/argv ] || return 0
	mv /dev/kvm /dev/kvm.away
	( refused 126 '/dev/kvm' $k && leaves_none 126 '/dev/kvm' $k )
	status=$?
	mv /dev/kvm.away /dev/kvm
	mv /dev/vhost-net /dev/vhost-net.away
	( refused 125 'vhost' $k --net tap0,vhost=on ) || status=1
	mv /dev/vhost-net.away /dev/vhost-net
	return $status
}

# One descriptor more each time: every step of a start fails once.
kept_few_descriptors()
{
	make_tap tap0
	lay_files
	refused=0
	for n in $(seq 10 64); do
		# past the wrapper: a shell wants descriptors of its own
		( ulimit -n "$n"; exec timeout 20 ./microvm --irq-check --kernel null.Image --net tap0 $outputs ) >out 2>err
		got=$?
		[ $got != 0 ] || break
		[ $got = 125 ] || fail "$n descriptors: status $got: $(cat err)"
		files_kept "$n descriptors: $(cat err)"
		refused=$((refused + 1))
	done
	[ $refused -ge 10 ] && [ $got = 0 ] || fail "$refused refusals, and status $got with $n descriptors"
	# and now they were written
	grep -q '"reason": *"poweroff"' work/result || fail "the result is $(head -c 200 work/result)"
	[ ! -s work/console ] || fail "the console is $(head -c 200 work/console)"
	! grep -q somebody work/dtb || fail "no device tree was written"
	echo "$refused refusals, then a run with $n"
}

# The last that can fail: the vCPUs' threads. All else was had by then.
kept_no_threads()
{
	only_in_the_emulated_host
	lay_files
	chmod 777 work
	chmod 666 /dev/kvm work/result work/console work/dtb
	files_now result console dtb >work/before
	( refused 125 'threads' $no_threads $M --kernel null.Image --cpus 2
	  leaves_none 125 'child that looks after new files' $no_threads $M --kernel null.Image --cpus 2 )
	status=$?
	chmod 600 /dev/kvm
	return $status
}

# What --dry-run writes is the tree and the result.
kept_dry_run()
{
	lay_files
	files_now console >work/before
	$M --kernel null.Image --dry-run $outputs >out 2>err || fail "status $?: $(cat err)"
	files_now console >work/after
	cmp -s work/before work/after || fail "the console: $(diff work/before work/after)"
	grep -q '"reason": *"dry-run"' work/result || fail "the result is $(cat work/result)"
	! grep -q somebody work/dtb || fail "no device tree was written"
	$M --kernel null.Image --dry-run --console file=work/c || fail "status $?"
	[ ! -e work/c ] || fail "a console was made"
}

# All that a tap keeps when nobody is attached; the links' states take the kernel a moment. An offload that is off may
# have been "requested": that it was never asked for is no state that could be set.
tap_now()
{
	./tap-state "$1" || fail "no state of $1"
	ip -d link show dev "$1"
	ip tuntap | grep "^$1:"
	ip addr show dev "$1" | grep 'inet '
	cat "/sys/class/net/$1/tun_flags" "/sys/class/net/$1/owner"
	! command -v ethtool >/dev/null || ethtool -k "$1" | sed 's/ .requested on.//'
}

# tap_kept TAP WHAT: since work/NAME.before
tap_kept()
{
	i=0
	until tap_now "$1" >"work/$1.after"; cmp -s "work/$1.before" "work/$1.after"; do
		i=$((i + 1))
		[ $i -lt 100 ] || fail "$2: $(diff "work/$1.before" "work/$1.after")"
		usleep 100000
	done
}

# The same, quicker: what is most easily left changed
headers_kept()
{
	for i in tap0 tap1; do
		./tap-state $i | cmp -s - "work/$i.header" || fail "$1: $i: $(cat "work/$i.header") became $(./tap-state $i)"
	done
}

# lay_tap NAME [HEADER-SIZE [multi_queue]]: up, owned by a user, and attached and let go once
lay_tap()
{
	ip tuntap add "$1" mode tap vnet_hdr user 1000 ${3:+"$3"} && ip link set "$1" up mtu 1400 || fail "no tap $1"
	./tap-state "$1" ${2:+"$2"} >"work/$1.header"
	note_tap "$1"
}

# note_tap NAME: in work/NAME.before, when it has settled
note_tap()
{
	i=0
	until tap_now "$1" >"work/$1.before"; grep -q 'NO-CARRIER.* state DOWN' "work/$1.before"; do
		i=$((i + 1))
		[ $i -lt 100 ] || fail "it does not settle: $(cat "work/$1.before")"
		usleep 100000
	done
}

# ran COMMAND...: a whole run, after which the taps are as they were
ran()
{
	timeout 60 "$@" >out 2>err || fail "status $?: $* said: $(cat err)"
	for i in tap0 tap1; do
		tap_kept $i "$*"
	done
}

kept_tap_runs()
{
	mkdir work
	lay_tap tap0
	lay_tap tap1 20 multi_queue
	ip addr add $HOST_IP/24 dev tap0
	note_tap tap0
	cat work/tap0.before work/tap1.before
	grep -q '^header 10,' work/tap0.before && grep -q '^header 20,' work/tap1.before || fail "not what was laid"
	ran $M --kernel null.Image --net tap0 --net tap1,queues=2
	ran $M --kernel null.Image --net tap0,vhost=off --net tap1,queues=4,vhost=off
	ran $M --kernel Image --dry-run --net tap0 --net tap1,queues=2
	ran ./with-tap tap0 7 $M --kernel null.Image --net fd=7
	# with a driver, which sets offloads and queues; ended by itself, and by a signal
	for v in on off; do
		ran $M $tiny --cmdline "ip4=$GUEST_IP/24 tiny=ping:$HOST_IP" --net tap0,vhost=$v --net tap1,queues=2,vhost=$v
		grep -q pong out || fail "no answer to the ping"
	done
	start_guest log tiny=hang --initrd initrd.tiny --net tap0 --net tap1,queues=2
	wait_for out 'init: up'
	end_guest
	tap_kept tap0 SIGTERM
	tap_kept tap1 SIGTERM
}

kept_tap_refusals()
{
	mkdir work
	lay_tap tap0
	lay_tap tap1 20 multi_queue
	taps='--net tap0 --net tap1,queues=2'
	k="$M --kernel null.Image"
	n=0
	while read -r pattern options; do
		expect_error 125 "$pattern" $k $options
		headers_kept "$options"
		n=$((n + 1))
	done <<-END
		tap9 $taps --net tap9
		queues --net tap0,queues=2 --net tap1,queues=2
		queues --net tap0 --net tap1
		tap0 --net tap0 --net tap1,queues=2 --net tap0
		nothere $taps --initrd nothere
		nowhere $taps --dump-dtb nowhere/d
		nowhere $taps --console file=nowhere/c
		nowhere $taps --result nowhere/r
		memory $taps --memory 4000G
		cpus $taps --cpus 100000
		vfio|PCI $taps --vfio 0000:ff:1f.7
	END
	[ $n = 11 ] || fail "$n of them"
	got=125 n=4
	while [ $got = 125 ] && [ $n -lt 64 ]; do
		( ulimit -n "$n"; exec timeout 20 ./microvm --irq-check --kernel null.Image $taps ) >out 2>err
		got=$?
		headers_kept "$n descriptors: $(cat err)"
		n=$((n + 3))
	done
	[ $got = 0 ] || fail "status $got with $n descriptors: $(cat err)"
	tap_kept tap0 refusals
	tap_kept tap1 refusals
}

# Of what tap_now prints: without the header's size and the offloads
bare_state()
{
	sed '/^header/d; /^Features for/,$d'
}

# Nobody can put the header's size and the offloads back then. The interface is there as it was, and the next VM on it
# sets what it wants.
kept_tap_killed()
{
	mkdir work
	lay_tap tap0
	ip addr add $HOST_IP/24 dev tap0
	note_tap tap0
	bare_state <work/tap0.before >work/before
	for v in on off; do
		start_guest log "ip4=$GUEST_IP/24 tiny=hang" --initrd initrd.tiny --net tap0,vhost=$v
		wait_for out 'init: up'
		kill -KILL $pid
		wait $pid
		i=0
		until tap_now tap0 | bare_state >work/after; cmp -s work/before work/after; do
			i=$((i + 1))
			[ $i -lt 100 ] || fail "$(diff work/before work/after)"
			usleep 100000
		done
		./tap-state tap0
		timeout 60 $M $tiny --cmdline "ip4=$GUEST_IP/24 tiny=ping:$HOST_IP" --net tap0,vhost=$v >out 2>err || fail "status $?: $(cat err)"
		grep -q pong out || fail "no answer to the ping"
	done
}
