# shellcheck shell=sh
# The network, end to end: a Linux guest pings the host, runs iperf3 both ways, and has counted
# its interrupts. The guest's own checks are tests/guest/net.sh.

# run_net KERNEL CPUS MICROVM-OPTIONS...
run_net()
{
	k=$1 cpus=$2
	shift 2
	$BOOT --expect 'guest: net status 0' --until-exit --fail-on 'guest: net status [1-9]|nobody cared|Kernel panic' \
		--verbose -- --kernel "$(kernel "$k")" --initrd "$(initrd "$k")" --cpus "$cpus" \
		--cmdline "quiet ip4=$GUEST_IP/24 t=net,$HOST_IP,${NET_SECONDS:-1}" "$@" || exit 1
}

# net KERNEL TRANSPORT VHOST IRQ CPUS
net()
{
	irq=
	[ "$2" = mmio ] && irq=",irq=$4"
	make_tap tap0
	run_net "$1" "$5" --net "tap0,vhost=$3,transport=$2$irq"
}

# net_queues VHOST PAIRS
net_queues()
{
	make_tap tap0 multi_queue
	(run_net small "$2" --net "tap0,vhost=$1,queues=$2") >log || { cat log; exit 1; }
	cat log
	grep -q 'input\.1' log || fail 'no second pair of queues'
}

# The first use, word for word.
net_defaults()
{
	make_tap tap0
	$BOOT --expect 'guest: net status 0' --until-exit --verbose -- --kernel Image --net tap0 \
		--initrd initrd.test --cmdline "ip4=$GUEST_IP/24 t=net,$HOST_IP,1" || exit 1
}

# The same on a host without GICv3: nothing else has to be said.
net_defaults_gicv2()
{
	(net_defaults) >log &
	net=$! by=
	while kill -0 $net 2>/dev/null; do
		! grep -qs '^vhost-' /proc/[0-9]*/task/[0-9]*/comm || by=vhost
		sleep 1
	done
	wait $net || { cat log; exit 1; }
	cat log
	[ "$by" = vhost ] || fail 'not by vhost'
	grep -q 'GICv2m-PCI-MSIX.*virtio2-input' log || fail 'no messages through a v2m frame'
}

net_fd()
{
	make_tap tap0
	./with-tap tap0 7 $BOOT --expect 'guest: net status 0' --until-exit -- --kernel Image \
		--initrd initrd.test --net fd=7 --cmdline "quiet ip4=$GUEST_IP/24 t=net,$HOST_IP,0" || exit 1
}

net_mtu()
{
	make_tap tap0
	ip link set tap0 mtu 9000
	$BOOT --expect 'mtu 4000' --until-exit -- --kernel Image --initrd initrd.test --net tap0,mtu=4000,mac=52:54:00:aa:bb:cc \
		--cmdline "quiet ip4=$GUEST_IP/24 t=link" || exit 1
}

# Registers read without exits until the guest opens the PCI_CFG window, and by exits from then on.
net_window()
{
	make_tap tap0
	$BOOT --expect 'guest: window status 0' --until-exit --verbose -- --kernel Image --initrd initrd.test \
		--net tap0,transport=pci --cmdline "quiet ip4=$GUEST_IP/24 t=window,$HOST_IP" || exit 1
}

# a_second COUNTER: how much it grew a second, over four of them from the first on in which it grew by a quarter of $2
a_second()
{
	i=0 now=$(cat "$1")
	until was=$now; sleep 1; now=$(cat "$1"); [ $((now - was)) -ge $(($2 / 4)) ]; do
		i=$((i + 1))
		[ $i -lt 80 ] || fail "nothing passes: ${1##*/} is $now"
	done
	from=$(uptime_ms) was=$(cat "$1")
	sleep 4
	echo $((($(cat "$1") - was) * 1000 / ($(uptime_ms) - from)))
}

# net_limited iops|bps N: what passes the tap while iperf3 wants more, by the tap's own counts (its rx is from the guest): by this
# process, though vhost would be there; no more than N a second, and, as far as TCP on a slow host
# makes anything of that, not much less
net_limited()
{
	make_tap tap0
	case $1 in iops) of=packets ;; *) of=bytes ;; esac
	expect_error 125 'vhost=on and .* exclude each other' $M --kernel null.Image --net "tap0,vhost=on,$1=$2"
	$M --kernel Image --initrd initrd.test --net "tap0,$1=$2" --cmdline "quiet ip4=$GUEST_IP/24 t=iperf,$HOST_IP,12" \
		--timeout 300 >out 2>err </dev/null &
	pid=$!
	( for way in rx tx; do
		rate=$(a_second /sys/class/net/tap0/statistics/${way}_$of "$2") || { echo "$rate"; exit 1; }
		echo "figure: a card with $1=$2: $rate a second, $way of the tap"
		[ "$rate" -le $(($2 * 115 / 100)) ] || fail "more than $2: $rate"
		[ "$rate" -ge $(($2 / 3)) ] || fail "much less than $2: $rate"
		! grep -qs '^vhost-' /proc/[0-9]*/task/[0-9]*/comm || fail 'by vhost'
		# iperf3's other way
		[ $way = tx ] || wait_for out 'iperf tx:'
	  done )
	status=$?
	wait $pid
	got=$?
	cat out err
	[ $status = 0 ] && [ $got = 0 ] && grep -q 'guest: iperf status 0' out || fail "status $got"
}

# net_exits LIMIT: how often KVM_RUN returns from start to ping and poweroff, on a host with views (pages of 4 KiB)
net_exits()
{
	page=$(awk '/^KernelPageSize:/ { print $2; exit }' /proc/self/smaps)
	[ "$page" = 4 ] || skip "pages of $page KiB: registers are read by exits"
	make_tap tap0
	timeout 60 $M --kernel Image --initrd initrd.tiny --net tap0 --result result.json \
		--cmdline "quiet ip4=$GUEST_IP/24 tiny=ping:$HOST_IP" >out || fail "status $?"
	grep -q 'pong' out || fail "no answer to the ping"
	n=$(result kvm_run_exits result.json)
	echo "figure: KVM_RUN exits, start to ping and poweroff: $n"
	[ "$n" -le "$1" ] || fail "more than $1"
}
