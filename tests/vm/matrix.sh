# shellcheck shell=sh
# Interrupt controllers, transports, back ends and tables, each with each: what `make test-hosts` prints as a table.

# host_has IRQCHIP: else a skip, with the program's own words
host_has()
{
	$M --kernel Image --irqchip "$1" --dry-run >out 2>err && return
	grep -q "this host's KVM has no" err || fail "no reason: $(cat err)"
	skip "$(cat err)"
}

# expect_way IRQCHIP TRANSPORT VHOST ROUTING: of the last dump in log, the line of net0's receive queue, or of its line
expect_way()
{
	case $1-$2-$3-$4 in
	gicv3-its-pci-*-flat) way='^microvm: net0 rx0 -> .*KVM_SIGNAL_MSI -> MSI .* -> ITS, unmasked' ;;
	gicv3-its-pci-*) way='^microvm: net0 rx0 -> .*GSI [0-9]+ -> MSI .* -> ITS, unmasked' ;;
	*-pci-*) way='^microvm: net0 rx0 -> .*MSI .* -> GSI [0-9]+ -> SPI [0-9]+ .*unmasked' ;;
	*-mmio-on-*) way='^microvm: net0 rx0 -> eventfd [0-9]+ -> GSI [0-9]+ -> SPI [0-9]+ .*, attached' ;;
	*) way='^microvm: net0.* SPI [0-9]+ ' ;;
	esac
	grep -Eq "$way" log || fail "no '$way' in the dump"
	case $1-$2-$4 in
	*-flat) n=0 ;;
	gicv3-its-pci-explicit) n=2 ;; # SPIs from the start, and the probe's messages
	*) n=1 ;;
	esac
	[ "$(commits log)" = $n ] || fail "commits: $(commits log), not $n"
	case $1-$2-$4 in
	gicv3-its-pci-flat) ;;
	*) ! grep -q 'KVM_SIGNAL_MSI' log || fail 'KVM_SIGNAL_MSI where none is needed' ;;
	esac
}

# expect_chip IRQCHIP TRANSPORT: what the guest's kernel calls it
expect_chip()
{
	case $1-$2 in
	gicv3-its-pci) chip='ITS-PCI-MSIX' ;;
	*-pci) chip='GICv2m-PCI-MSIX' ;;
	gicv3*) chip='GICv3' ;;
	*) chip='GIC-0' ;;
	esac
	grep -Eq "^ *[0-9]+:.*$chip.* virtio2" out || fail "no interrupt of $chip in the guest"
}

# matrix IRQCHIP TRANSPORT VHOST ROUTING: ping without loss, interrupts counted where they should be, clean logs
matrix()
{
	host_has "$1"
	make_tap tap0
	# else a line of a device's is raised and lowered by us, which no table has a part in
	direct=
	[ "$2-$3" != mmio-on ] || direct=,irq=direct
	start_guest log "ip4=$GUEST_IP/24 t=net,$HOST_IP,0,50 end=stay" --initrd initrd.test --cpus 2 --irqchip "$1" \
		--irq-routing "$4" --net "tap0,transport=$2,vhost=$3$direct"
	wait_for out 'guest: net status'
	dump $pid log
	end_guest
	cat out err log
	grep -q 'guest: net status 0' out || fail 'the guest did not pass'
	[ ! -s err ] || fail 'something was said'
	expect_way "$@"
	expect_chip "$1" "$2"
}
