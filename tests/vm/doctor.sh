# shellcheck shell=sh
# What --doctor says of a host, against what the host does.

# doctor STATUS OPTIONS...: text into the file report, the object into the file json
doctor()
{
	want=$1
	shift
	timeout 20 $M --doctor "$@" >report 2>err
	got=$?
	cat report err
	[ $got = "$want" ] || fail "status $got, not $want"
	[ ! -s err ] || fail "standard error is not empty"
	timeout 20 $M --doctor --json "$@" >json 2>err
	got=$?
	[ $got = "$want" ] && [ ! -s err ] || fail "--json: status $got: $(cat err)"
	[ "$(wc -l <json)" = 1 ] || fail "not one line: $(cat json)"
	# our own reader of configurations takes any JSON object, and then misses its keys
	cp json config.json
	expect_error 125 "config.json.*version" $M --config config.json
	rm -f config.json
}

# has PATTERN FILE
has()
{
	grep -Eq -- "$1" "$2" || fail "no '$1' in $2: $(cat "$2")"
}

# What is registered with the kernel and which interfaces there are: --doctor leaves them alone.
host_state()
{
	cat /proc/misc /proc/modules
	ls /sys/class/net
}

doctor_gicv3()
{
	[ -e /host/argv ] || skip "for the emulated host, whose abilities are known"
	make_tap tap0
	host_state >before
	doctor 0 --net tap0
	host_state >after
	cmp before after || fail "it changed the host: $(diff before after)"
	rm -f before after
	has 'GICv3 with an ITS: ' report
	has 'net0 +pci: ' report
	has 'packets by vhost-net: ' report
	has 'A guest can run here' report
	has '"its":true,"gicv2":false,"msi_devid":true,"irq_routing":4096' json
	has "\"page_size\":$(getconf PAGESIZE 2>/dev/null || echo 4096)," json
	has '"verdict":"good"' json
	has '"irqchip":"gicv3-its"' json
	has '"id":"CVE-2026-46316","area":"its","state":"(fixed|never-had-it)"' json
	doctor 0 --irqchip gicv3 --net tap0
	has '"irqchip":"gicv3".*"v2m":true' json
	doctor 125 --irqchip gicv2
	has 'refused: irqchip: .*GICv2' report
	doctor 125 --net tap9
	has 'tap9 does not exist' report
	[ ! -e /sys/class/net/tap9 ] || fail "a tap was made"
	$M --kernel null.Image --net tap0 || fail "it said that a guest can run, and none can"
}

doctor_gicv2()
{
	make_tap tap0
	doctor 0 --net tap0
	has 'GICv2 with a v2m frame: ' report
	has '"gicv3":false,"its":false,"gicv2":true,"msi_devid":false' json
	has '"irqchip":"gicv2m"' json
	doctor 0 --irqchip gicv2 --net tap0
	has 'net0 +mmio: ' report
	doctor 125 --irqchip gicv3-its
	doctor 125 --cpus 9
	$M --kernel null.Image --net tap0 || fail "it said that a guest can run, and none can"
}

doctor_no_kvm()
{
	only_in_the_emulated_host
	mv /dev/kvm /dev/kvm.away
	( doctor 126 --net tap9
	  has 'no: /dev/kvm: No such file' report
	  has 'No guest can run here' report
	  has '"verdict":"no-guest"' json
	  has '"its":null' json )
	status=$?
	mv /dev/kvm.away /dev/kvm
	return $status
}

# As a user who may use nothing; as one who may use KVM alone
doctor_no_permission()
{
	only_in_the_emulated_host
	make_tap tap0
	mode=$(stat -c %a .)
	chmod 777 .
	M="setpriv --reuid=65534 --regid=65534 --clear-groups $M"
	( doctor 126
	  has 'usable +no: /dev/kvm: Permission denied .*group' report
	  chmod 666 /dev/kvm
	  doctor 0
	  has '/dev/vhost-net +no: Permission denied' report
	  doctor 125 --net tap0
	  has '/dev/net/tun: Permission denied' report
	  chmod 666 /dev/net/tun
	  doctor 0 --net tap0
	  has 'packets by this process: /dev/vhost-net: Permission denied' report
	  has 'ask for access to /dev/vhost-net' report
	  ip tuntap add tap1 mode tap user root
	  doctor 125 --net tap1
	  has 'tap1 belongs to another user' report )
	status=$?
	chmod 600 /dev/kvm /dev/net/tun
	chmod "$mode" .
	return $status
}

doctor_no_io_uring()
{
	./without-io-uring $M --doctor >report
	got=$?
	cat report
	[ $got = 126 ] || fail "status $got"
	has '! io_uring +no: Operation not permitted' report
	has 'No guest can run here' report
}
