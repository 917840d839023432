# shellcheck shell=sh
# The way of an interrupt, seen from outside: the SIGUSR1 table.

# start_guest LOG-FILE CMDLINE OPTIONS...: in the background; $pid. $guest_kernel: not Image
start_guest()
{
	log=$1 cmdline=$2
	shift 2
	$M --kernel "${guest_kernel:-Image}" --cmdline "quiet $cmdline" --log "$log" --log-level info "$@" >out 2>err <"${console_in:-/dev/null}" &
	pid=$!
}

commits()
{
	sed -n 's/.*commits \([0-9]*\).*/\1/p' "$1" | tail -n 1
}

# counter NAME: "NAME 1,688" in the last dump
counter()
{
	grep -o "$1 [0-9,]*" log | tail -n 1 | tr -cd 0-9
}

irq_one_commit()
{
	make_tap tap0
	start_guest log "ip4=$GUEST_IP/24 tiny=sleep:60" --initrd initrd.tiny --net tap0,transport=pci
	wait_for out 'init: up'
	dump $pid log
	end_guest
	cat log
	[ "$(commits log)" = 1 ] || fail "commits: $(commits log)"
	echo "figure: KVM_SET_GSI_ROUTING for one virtio-net-pci probe: $(commits log)"
}

# irq_commits N: with N cards there is at most one table a card, and the last one has every SPI and three messages a card
irq_commits()
{
	nets=
	for n in $(seq 0 $(($1 - 1))); do
		ip tuntap add "tap$n" mode tap vnet_hdr $tap_owner || fail "no tap tap$n"
		nets="$nets --net tap$n,transport=pci"
	done
	# shellcheck disable=SC2086 # several words
	start_guest log "tiny=sleep:60" --initrd initrd.tiny $nets
	wait_for out 'init: up'
	dump $pid log
	end_guest
	cat out err log
	spis=$(counter 'spi routes')
	commits=$(commits log)
	[ "$commits" -ge 1 ] && [ "$commits" -le "$1" ] || fail "commits: $commits"
	[ "$spis" -ge 32 ] && [ $((spis % 32)) = 0 ] || fail "spi routes: $spis"
	[ "$(counter 'msi routes')" = $((3 * $1)) ] || fail "msi routes: $(counter 'msi routes')"
	# every table on the way has the SPIs, and messages of those cards only that are there by then
	most=$((commits * (8 + 48 * (spis + 3 * $1))))
	[ "$(counter 'table bytes')" -le $most ] || fail "table bytes: $(counter 'table bytes'), more than $most"
	echo "figure: $1 virtio-net-pci: $commits commits, $(counter 'table bytes') table bytes, $spis + $((3 * $1)) routes"
}

# irq_full_table CYCLES: the GSI space on the kernel's table, to the last entry and back (routes.c)
irq_full_table()
{
	timeout 600 ./routes "$1"
}

irq_every_spi()
{
	make_tap tap0
	start_guest log "tiny=sleep:60" --initrd initrd.tiny --net tap0,transport=pci
	wait_for out 'init: up'
	dump $pid log
	end_guest
	spis=$(counter 'spi routes')
	[ "$spis" -ge 32 ] && [ $((spis % 32)) = 0 ] || fail "spi routes: $spis"
	# as the kernel was given it: one table, with these and the card's three messages
	[ "$(commits log)" = 1 ] && [ "$(counter 'table bytes')" = $((8 + 48 * (spis + 3))) ] ||
		fail "$(commits log) tables of $(counter 'table bytes') bytes for $spis + 3 routes"
}

irq_dump()
{
	make_tap tap0
	start_guest log "tiny=sleep:60" --initrd initrd.tiny --net tap0,transport=pci
	wait_for out 'init: up'
	dump $pid log
	end_guest
	cat log
	msi='MSI 0x0*[0-9a-f]+ data [0-9]+ devid 0x[0-9a-f]+ -> ITS'
	for what in "net0 rx0 -> eventfd [0-9]+ -> GSI [0-9]+ -> $msi, unmasked, signals from the kernel" \
		"net0 tx0 -> eventfd [0-9]+ -> GSI [0-9]+ -> $msi, unmasked" 'net0 rx0: used index [0-9]+, by vhost' \
		"net0 config -> eventfd [0-9]+ -> GSI [0-9]+ -> $msi, unmasked, 0 signals" \
		'uart -> KVM_IRQ_LINE -> SPI [0-9]+ \(INTID [0-9]+\), level, (low|high), raised [0-9,]+ times' \
		'rtc -> KVM_IRQ_LINE' 'console0 -> KVM_IRQ_LINE -> SPI [0-9]+ \(INTID [0-9]+\), edge, [0-9,]+ signals' \
		'ns a commit: last [0-9,]+, mean [0-9,]+, most [0-9,]+' 'masks [0-9]+, unmasks [0-9]+, replays [0-9]+'; do
		grep -Eq "$what" log || fail "no '$what' in the dump"
	done
}

counts()
{
	fds=$(ls /proc/$pid/fd | wc -l)
	irqfds=$(grep -o 'irqfds [0-9]*' log | tail -n 1)
	routes=$(grep -o 'msi routes [0-9]*' log | tail -n 1)
	echo "$fds fds, $irqfds, $routes"
}

# irq_rebind N [TRANSPORT [VHOST]]: the driver is unbound and bound N times under traffic; nothing is used up
irq_rebind()
{
	make_tap tap0
	mkfifo console.in
	exec 9<>console.in
	console_in=console.in
	start_guest log "ip4=$GUEST_IP/24 t=shell" --initrd initrd.test --net "tap0,transport=${2:-pci}${3:+,vhost=$3}"
	wait_for out 'tests are in /t'
	rm -f console.in # open by now
	dump $pid log
	before=$(counts) memory=$(own_kib $pid)
	echo "sh /t/rebind.sh $1 $HOST_IP; echo rebind-status \$?-" >&9
	i=0
	until grep -q 'rebind-status [0-9]*-' out; do
		i=$((i + 1))
		[ $i -lt $((120 + $1 * 6)) ] || fail "no end: $(tail -n 5 out)"
		usleep 500000
	done
	dump $pid log
	after=$(counts) memory=$(($(own_kib $pid) - memory))
	exec 9>&-
	end_guest
	tail -n 12 out
	grep -q 'rebind-status 0-' out || fail "the guest's test failed"
	[ "$before" = "$after" ] || fail "before: $before; after: $after"
	[ $memory -le 256 ] || fail "memory grew by $memory KiB"
	echo "figure: $1 unbinds and binds${2:+ over $2}${3:+, vhost=$3}: $after, memory $memory KiB, $(commits log) commits"
}

# Two kernels, each started by the one before: the last one's network works, and nothing was used up.
irq_kexec()
{
	make_tap tap0
	start_guest log "ip4=$GUEST_IP/24 t=kexec,2,$HOST_IP end=stay" --initrd initrd.kexec --memory 512M --net tap0,transport=pci
	wait_for out 'kexec, 2 to go'
	dump $pid log
	first=$(counts)
	wait_for out 'kexec, 1 to go'
	wait_for out 'guest: kexec status'
	dump $pid log
	last=$(counts)
	end_guest
	tail -n 12 out
	grep -q 'guest: kexec status 0' out || fail "the guest did not pass"
	[ "$first" = "$last" ] || fail "before: $first; after: $last"
	echo "figure: two kexecs: $last, $(commits log) commits"
}

# The guest's kernel crashes under traffic; the next one finds rings live and vectors armed, and its network works.
irq_kdump()
{
	make_tap tap0
	timeout 300 $M --kernel Image.stock --initrd initrd.kdump --memory 1G --cpus 2 --net tap0,transport=pci \
		--cmdline "quiet crashkernel=256M ip4=$GUEST_IP/24 t=kdump,$HOST_IP" >out 2>err || fail "status $?: $(cat err)"
	tail -n 20 out
	grep -q '# crash' out && grep -q 'guest: kdump status 0' out || fail "the second kernel did not pass"
}

# Without an ITS messages go through a v2m frame; what is asked for and not there is refused.
irq_plain_gicv3()
{
	make_tap tap0
	$BOOT --expect 'guest: net status 0' --until-exit --verbose -- --kernel Image --initrd initrd.test \
		--irqchip gicv3 --net tap0 --cmdline "quiet ip4=$GUEST_IP/24 t=net,$HOST_IP,0" >log || exit 1
	cat log
	grep -q 'GICv2m-PCI-MSIX.*virtio2-input' log || fail 'no messages through a v2m frame'
	expect_error 125 'has no GICv2' $M --kernel Image --irqchip gicv2m --net tap0
	expect_error 125 'has no GICv2' $M --kernel Image --irqchip gicv2 --net tap0
}

# A card over MMIO, whose interrupts are irqfds on an SPI, is under load while the first message of another, on PCI,
# makes the kernel's table ours.
irq_switch()
{
	make_tap tap0
	ip tuntap add tap1 mode tap vnet_hdr $tap_owner && ip addr add 192.168.78.1/24 dev tap1 && ip link set tap1 up
	guest_kernel=Image.stock
	start_guest log "later=virtio_pci ip4=$GUEST_IP/24 t=switch,$HOST_IP,192.168.78 end=stay" --initrd initrd.stock \
		--memory 512M --cpus 2 --net tap0,transport=mmio,irq=direct --net tap1,transport=pci
	wait_for out 'guest: switch status'
	dump $pid log
	end_guest
	cat out err log
	grep -q 'guest: switch status 0' out || fail 'the guest did not pass'
	# through a v2m frame messages need no table of ours
	n=0
	! grep -q 'net1 rx0 .*-> ITS' log || n=1
	[ "$(commits log)" = $n ] || fail "commits: $(commits log), not $n"
}

# A monitor that lets masked entries send is ended by who looks on, with the rule that it broke.
irq_check_mutant()
{
	make_tap tap0
	timeout 120 ./mutants/v5-entry-mask --irq-check --kernel Image --initrd initrd.test --net tap0,transport=pci \
		--cmdline "quiet ip4=$GUEST_IP/24 t=net,$HOST_IP,0" >out 2>err
	got=$?
	[ $got = 121 ] || fail "status $got, not 121: $(cat out err)"
	grep -q 'irq-check: V5: ' err || fail "said: $(cat err)"
}
