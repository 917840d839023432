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
