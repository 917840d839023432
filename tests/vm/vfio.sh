# shellcheck shell=sh
# Devices of the host's, behind an SMMU: bound to vfio-pci, handed to a guest, used under load, given back.
# The emulated host of `suite --smmu` has them: a network card on the same wire as one of the host's own, an NVMe drive
# and edu, each in a group of its own, and two more edus in one group behind a bridge.

NET=0x1af4:0x1041 NVME=0x1b36:0x0010 EDU=0x1234:0x11e8
PCI=/sys/bus/pci/devices

# pci_find VENDOR:DEVICE: their addresses, lowest first
pci_find()
{
	for d in "$PCI"/*; do
		[ "$(cat "$d/vendor" 2>/dev/null):$(cat "$d/device" 2>/dev/null)" = "$1" ] && echo "${d##*/}"
	done
}

# bind ADDRESS DRIVER
bind()
{
	echo "$2" >"$PCI/$1/driver_override"
	unbind "$1"
	echo "$1" >/sys/bus/pci/drivers_probe
}

unbind()
{
	[ ! -e "$PCI/$1/driver" ] || echo "$1" >"$PCI/$1/driver/unbind"
}

# device KIND [N]: $device is the address of the first (N-th) one, bound to vfio-pci
device()
{
	only_in_the_emulated_host
	[ -d /sys/bus/pci/drivers/vfio-pci ] || skip "this host's kernel has no vfio-pci, or its module is not loaded"
	device=$(pci_find "$1" | sed -n "${2:-1}p")
	[ -n "$device" ] || skip "this host has no PCI device $1 to give away"
	bind "$device" vfio-pci
	[ -e "$PCI/$device/iommu_group" ] || skip "this host has no IOMMU"
}

# The host's own card on the wire
host_net()
{
	for d in /sys/bus/virtio/drivers/virtio_net/virtio*/net/*; do
		host_if=${d##*/}
	done
	[ -e "/sys/class/net/$host_if" ] || skip "the host has no card on that wire"
	ip addr add $HOST_IP/24 dev "$host_if" 2>/dev/null
	ip link set "$host_if" up
	iperf3 -s -D -B $HOST_IP --pidfile /tmp/iperf3.pid >/dev/null 2>&1
}

# vfio_guest TEST OPTIONS...: a guest that runs it, and must pass
vfio_guest()
{
	t=$1
	shift
	./boot-test --expect "guest: ${t%%,*} status 0" --until-exit --verbose --timeout "${VFIO_TIMEOUT:-900s}" \
		--fail-on 'guest: [a-z]* status [1-9]|nobody cared|Kernel panic' -- \
		--kernel Image --initrd initrd.test --cpus "${guest_cpus:-1}" \
		--cmdline "quiet ip4=$GUEST_IP/24 t=$t $guest_args" "$@" || exit 1
}

# vfio_net SECONDS PINGS: a virtio-net-pci by MSI-X
vfio_net()
{
	device $NET
	host_net
	(guest_cpus=2 vfio_guest "net,$HOST_IP,$1,$2" --vfio "$device") >log || { cat log; exit 1; }
	cat log
	echo "figure: a network card by MSI-X: $(sed -n 's/.*: \([0-9]*\) interrupts of .*/\1/p' log | awk '{ s += $1 } END { print s }') interrupts"
}

# vfio_nvme READS OPTIONS...: by MSI-X; then a second start gets it again, and its guest knows nothing of messages
vfio_nvme()
{
	n=$1
	shift
	device $NVME
	vfio_guest "nvme,$n" --vfio "$device" "$@"
	guest_args=pci=nomsi vfio_guest "nvme,$n" --vfio "$device" "$@"
}

# vfio_edu N: by INTx through UIO, then by MSI
vfio_edu()
{
	device $EDU
	vfio_guest "edu,$1" --vfio "$device"
	timeout 600 $M --kernel bare.Image --vfio "$device" --cmdline "case=edu n=$1" >out 2>err
	status=$?
	cat out err
	[ $status = 0 ] && grep -q '^bare: passed' out || fail "status $status"
	sed -n 's/^ok.* - \([0-9]* raised by MSI, .*\)/figure: edu by MSI: \1/p' out
}

# vfio_all READS: three in one guest, MSI-X, INTx and none; named, and listed
vfio_all()
{
	device $NET; net=$device
	device $NVME; nvme=$device
	device $EDU
	host_net
	start_guest log "ip4=$GUEST_IP/24 t=net,$HOST_IP,0,50 end=stay" --initrd initrd.test --cpus 2 \
		--vfio "$device,id=edu" --vfio "$nvme" --vfio "host=$net,id=card"
	wait_for out 'guest: net status'
	dump $pid log
	end_guest
	cat out log
	grep -q 'guest: net status 0' out || fail "the guest did not pass"
	for what in 'device edu: .* INTx of 1' 'device vfio1: .* MSI-X of' 'device card: .* MSI-X of [34] vectors' 'card v1.*unmasked'; do
		grep -Eq "$what" log || fail "no '$what' in the dump"
	done
}

# The host unbinds the device of a running guest.
vfio_taken_back()
{
	device $NVME
	start_guest log "tiny=sleep:100" --initrd initrd.tiny --vfio "$device"
	wait_for out 'init: up'
	( unbind "$device" ) &
	wait $pid
	status=$?
	wait
	cat err
	[ $status = 121 ] || fail "status $status"
	grep -q 'vfio0: the host takes the device back' err || fail "no word of it"
	[ ! -e "$PCI/$device/driver" ] || fail "it is still bound"
}

# One line and 125 for all that may be wrong with a device
vfio_refusals()
{
	device $NVME
	expect_error 125 'vfio0: this host has no PCI device 0000:ff:1f.7' $M --kernel null.Image --vfio 0000:ff:1f.7
	expect_error 125 'no PCI address' $M --kernel null.Image --vfio 00:02
	expect_error 125 "vfio1: $device is vfio0's already" $M --kernel null.Image --vfio "$device" --vfio "${device#0000:}"
	unbind "$device"
	expect_error 125 "$device is not bound to vfio-pci .*driver_override.*drivers_probe" $M --kernel null.Image --vfio "$device"
	bind "$device" uio_pci_generic
	expect_error 125 "belongs to the driver uio_pci_generic.*unbind" $M --kernel null.Image --vfio "$device"
	bind "$device" vfio-pci

	start_guest log "tiny=sleep:100" --initrd initrd.tiny --vfio "$device"
	wait_for out 'init: up'
	expect_error 125 'group [0-9]* is in use already' $M --kernel null.Image --vfio "$device"
	end_guest log
	timeout 20 $M --kernel null.Image --vfio "$device" || fail "it cannot be had again"
}

# Two devices of one group, one of which the host keeps
vfio_group()
{
	device $EDU 2; one=$device
	device $EDU 3; two=$device
	[ "$(readlink "$PCI/$one/iommu_group")" = "$(readlink "$PCI/$two/iommu_group")" ] || skip "they are not in one group"
	bind "$two" uio_pci_generic
	expect_error 125 "group [0-9]* goes as a whole.*$two \(uio_pci_generic\)" $M --kernel null.Image --vfio "$one"
	bind "$two" vfio-pci
	timeout 20 $M --kernel null.Image --vfio "$one" --vfio "$two" || fail "both of one group"
}

# As a user: what may be opened, and how much may be locked
vfio_user()
{
	device $NVME
	user='setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --ambient-caps=-all'
	group=/dev/vfio/$(basename "$(readlink "$PCI/$device/iommu_group")")
	chmod 666 /dev/kvm
	( expect_error 125 "$group': Permission denied .*chown" $user $M --kernel null.Image --vfio "$device"
	  chmod 666 "$group"
	  ulimit -l 1024
	  expect_error 125 'memory of 256 MiB must be locked.*RLIMIT_MEMLOCK is 1024 KiB .ulimit -l [0-9]+' \
		$user $M --kernel null.Image --vfio "$device"
	  ulimit -l "$(sed -n 's/.*ulimit -l \([0-9]*\).*/\1/p' err)"
	  timeout 20 $user $M --kernel null.Image --vfio "$device" || fail "with enough of it, status $?" )
	status=$?
	chmod 600 /dev/kvm "$group"
	return $status
}
