# shellcheck shell=sh
# Bad input: each gives one line and the documented status, and touches nothing.

bad_kernel_files()
{
	mkdir work
	# names that are no part of what has to be said
	: >work/f0
	mkfifo work/f1
	printf 'MZ\220\000' >work/f2
	dd if=/dev/urandom of=work/f3 bs=4096 count=4 2>/dev/null
	{ printf '\177ELF\002\001\001'; head -c 5000 /dev/zero; } >work/f4
	{ head -c 510 /dev/zero; printf 'U\252'; printf 'HdrS' ; head -c 9000 /dev/zero; } >work/f5
	dd if=/dev/zero of=work/f5 bs=1 seek=512 count=2 conv=notrunc 2>/dev/null
	printf 'HdrS' | dd of=work/f5 bs=1 seek=514 conv=notrunc 2>/dev/null
	# flags: bit 0 big endian; bits 1-2: 1 4K, 2 16K, 3 64K
	cp null.Image work/f6 && printf '\013' | dd of=work/f6 bs=1 seek=24 conv=notrunc 2>/dev/null
	expect_error 125 "work/f9': No such file" $M --kernel work/f9
	expect_error 125 "work/f0' is empty" $M --kernel work/f0
	expect_error 125 "work' is a directory" $M --kernel work
	expect_error 125 "work/f1' is a FIFO" $M --kernel work/f1
	expect_error 125 "work/f2' is too short to be a kernel" $M --kernel work/f2
	expect_error 125 "work/f3' is not an arm64 Image" $M --kernel work/f3
	expect_error 125 "work/f4' is an ELF" $M --kernel work/f4
	expect_error 125 "work/f5' is an x86" $M --kernel work/f5
	expect_error 125 "work/f6' is big-endian" $M --kernel work/f6
}

# Debian's kernel says in its PE header how long the file must be (a plain header does not).
bad_kernel_truncated()
{
	mkdir work
	size=$(stat -c %s Image.stock)
	for k in 1 2 3 16 100 500 1000 4000 $((size / 4096 - 1)) $((size / 4096)); do
		head -c $((k * 4096)) Image.stock >work/f0
		expect_error 125 "work/f0' is truncated: $((k * 4096)) bytes of [0-9]+" $M --kernel work/f0
	done
}

bad_initrd()
{
	mkdir work
	truncate -s 300M work/f0
	expect_error 125 "initrd: 'work/f0' \(300 MiB\) does not fit" $M --kernel Image --initrd work/f0
	expect_error 125 "initrd: 'initrd.tiny' with the 2 behind it \([0-9]+ MiB\) does not fit" \
		$M --kernel Image --initrd initrd.tiny --initrd work/f0 --initrd work/f0
	expect_error 125 "initrd: open 'work/f9': No such file" $M --kernel Image --initrd initrd.tiny --initrd work/f9
	truncate -s 300M work/f1
	dd if=null.Image of=work/f1 conv=notrunc 2>/dev/null
	expect_error 125 "kernel: 'work/f1' takes 300 MiB" $M --kernel work/f1
}

bad_memory()
{
	expect_error 125 'memory: (0 is too little|must be above 0)' $M --kernel Image --memory 0
	expect_error 125 "memory: 'banana' is not a size" $M --kernel Image --memory banana
	expect_error 125 "memory: '-1' is not a size" $M --kernel Image --memory -1
	expect_error 125 'more than this host' $M --kernel Image --memory 4000G
	expect_error 125 "99999' is not a size" $M --kernel Image --memory 99999999999999999999
	expect_error 125 '1 MiB of memory cannot hold' $M --kernel Image --memory 1M
}

bad_cpus()
{
	expect_error 125 "cpus: '0' is not a number from 1" $M --kernel Image --cpus 0
	expect_error 125 "cpus: '1000000' is not a number from 1" $M --kernel Image --cpus 1000000
	expect_error 125 "cpus: 'two' is not a number" $M --kernel Image --cpus two
}

bad_taps()
{
	expect_error 125 'tap9: no such network interface' $M --kernel Image --net tap9
	[ ! -e /sys/class/net/tap9 ] || fail "a tap was made"
	expect_error 125 'lo: not a tap interface' $M --kernel Image --net lo
	make_tap tap0
	expect_error 125 'tap0: made without multi_queue' $M --kernel Image --net tap0,queues=2
	mkdir work
	mkfifo work/end
	timeout 120 ./with-tap tap0 7 sh -c 'echo >work/held; read -r line <work/end' &
	wait_for work/held '^'
	expect_error 125 'tap0.*busy' $M --kernel Image --net tap0
	echo >work/end
	wait
	ip tuntap add tap1 mode tap vnet_hdr multi_queue
	expect_error 125 'tap1: made with multi_queue' $M --kernel Image --net tap1
	expect_error 125 'fd=99: (not a tap|fcntl|not open)' $M --kernel Image --net fd=99
	expect_error 125 "'0' is not a number from 3" $M --kernel Image --net fd=0
	ip tuntap | grep tap0
}

bad_options()
{
	expect_error 125 'kernel: not given' $M
	expect_error 125 "nonsense'?: unknown option" $M --kernel Image --nonsense
	expect_error 125 "unknown key 'colour'" $M --kernel Image --net tap0,colour=red
	expect_error 125 "vhost: 'maybe' is none of" $M --kernel Image --net tap0,vhost=maybe
	expect_error 125 'cpus: given twice' $M --kernel Image --cpus 1 --cpus 2
	expect_error 125 'pmem: ro is not given' $M --kernel Image --pmem f
	expect_error 125 'id=a is taken by another' $M --kernel Image --net tap0,id=a --net tap1,id=a
	expect_error 125 'nothere.json.*No such file' $M --config nothere.json
}

bad_no_kvm()
{
	only_in_the_emulated_host
	mv /dev/kvm /dev/kvm.away
	# whatever else is missing: a continuous integration without KVM is to skip
	( for options in '' '--net tap9' '--net tap9,vhost=on --net lo'; do
		# shellcheck disable=SC2086 # several words
		expect_error 126 '/dev/kvm' $M --kernel Image $options
		# shellcheck disable=SC2086
		./boot-test -- --kernel Image $options
		got=$?
		[ $got = 77 ] || fail "boot-test $options: status $got"
	  done )
	status=$?
	mv /dev/kvm.away /dev/kvm
	return $status
}

# As a user who may use nothing but what each line allows
bad_no_permission()
{
	only_in_the_emulated_host
	user='setpriv --reuid=65534 --regid=65534 --clear-groups'
	make_tap tap0
	mkdir work
	cp null.Image work/secret
	chmod 000 work/secret
	( expect_error 126 '/dev/kvm.*denied.*group' $user $M --kernel null.Image
	  expect_error 125 'secret.*denied' $user $M --kernel work/secret
	  expect_error 125 'result.*denied' $user $M --kernel null.Image --result /root/result
	  chmod 666 /dev/kvm
	  expect_error 125 '/dev/net/tun.*denied' $user $M --kernel null.Image --net tap0
	  chmod 666 /dev/net/tun
	  expect_error 125 'vhost-net.*denied.*run as root' $user $M --kernel null.Image --net tap0,vhost=on
	  ip tuntap add tap1 mode tap user root
	  expect_error 125 'tap1: TUNSETIFF.*not permitted.*user' $user $M --kernel null.Image --net tap1
	  $user $M --kernel null.Image --net tap0 || fail "auto does not fall back" )
	status=$?
	chmod 600 /dev/kvm /dev/net/tun
	return $status
}

bad_no_vhost()
{
	only_in_the_emulated_host
	make_tap tap0
	mv /dev/vhost-net /dev/vhost-net.away
	( expect_error 125 'vhost' $M --kernel Image --net tap0,vhost=on
	  timeout 20 $M --kernel null.Image --net tap0 || fail "auto does not fall back" )
	status=$?
	mv /dev/vhost-net.away /dev/vhost-net
	return $status
}

# warns PATTERN COMMAND...: runs to a good end, with one line on standard error that matches
warns()
{
	pattern=$1
	shift
	timeout 60 "$@" >out 2>err || fail "status $?: $* said: $(cat err)"
	sed 's/^/said: /' err
	[ "$(wc -l <err)" = 1 ] && grep -Eq "^microvm: .*$pattern" err || fail "not one line of '$pattern': $*: $(cat err)"
}

# is_silent COMMAND...
is_silent()
{
	timeout 60 "$@" >out 2>err || fail "status $?: $* said: $(cat err)"
	[ ! -s err ] || fail "$*: said: $(cat err)"
}

# A back end that auto had to do without is named, once and for each card; what was asked for is no news.
warn_no_vhost()
{
	only_in_the_emulated_host
	make_tap tap0
	ip tuntap add tap1 mode tap vnet_hdr && ip link set tap1 up
	is_silent $M --kernel null.Image --net tap0
	is_silent $M --kernel null.Image --net tap0,vhost=off
	mv /dev/vhost-net /dev/vhost-net.away
	( warns 'net0.*vhost' $M --kernel null.Image --net tap0
	  warns 'net0.*vhost' $M --kernel null.Image --net tap0,vhost=auto
	  warns 'net1.*vhost' $M --kernel null.Image --net tap0,vhost=off --net tap1
	  is_silent $M --kernel null.Image --net tap0,vhost=off
	  is_silent $M --kernel null.Image )
	status=$?
	mv /dev/vhost-net.away /dev/vhost-net
	return $status
}

# The same of interrupts, on a host with a GICv2
warn_no_its()
{
	make_tap tap0
	warns 'ITS' $M --kernel null.Image --net tap0
	warns 'ITS' $M --kernel null.Image --irqchip auto --net tap0,transport=pci
	is_silent $M --kernel null.Image --irqchip gicv2m --net tap0
	is_silent $M --kernel null.Image --irqchip gicv2 --net tap0
}

bad_no_io_uring()
{
	./without-io-uring $M --kernel Image >out 2>err
	got=$?
	cat err
	[ $got = 125 ] || fail "status $got"
	[ "$(wc -l <err)" = 1 ] && grep -q io_uring err || fail "$(cat err)"
}

# An Image whose header wants pages of 16 KiB (flags, bits 1 and 2)
bad_page_size()
{
	mkdir work
	cp null.Image work/16k && printf '\014' | dd of=work/16k bs=1 seek=24 conv=notrunc 2>/dev/null
	expect_error 125 'pages of 16 KiB' $M --kernel work/16k
}

# However few descriptors there are: it runs, or says so in one line.
bad_few_descriptors()
{
	make_tap tap0
	refused=0
	for n in $(seq 4 3 64); do
		# past the wrapper: a shell wants descriptors of its own
		( ulimit -n "$n"; exec timeout 20 ./microvm --irq-check --kernel null.Image --net tap0 ) >out 2>err
		got=$?
		[ $got = 0 ] && continue
		[ $got = 125 ] || fail "$n descriptors: status $got: $(cat err)"
		[ "$(wc -l <err)" = 1 ] || fail "$n descriptors: not one line: $(cat err)"
		refused=$((refused + 1))
	done
	[ $refused -ge 6 ] && [ $got = 0 ] || fail "$refused refusals, and status $got with 64 descriptors"
	tail -n 1 err
}

# More queues than one event loop can watch
bad_too_many_queues()
{
	nets=
	for i in $(seq 2 25); do
		ip tuntap add "tap$i" mode tap vnet_hdr multi_queue || fail "no tap"
		nets="$nets --net tap$i,vhost=off,queues=4"
	done
	# shellcheck disable=SC2086 # several words
	( expect_error 125 'too many for one event loop' $M --kernel null.Image $nets )
	status=$?
	for i in $(seq 2 25); do ip link del "tap$i"; done
	return $status
}

# On a host without an IOMMU; the rest of what may be wrong with a device is in vfio.sh.
bad_vfio()
{
	only_in_the_emulated_host
	expect_error 125 'no PCI device 0000:ff:1f.7' $M --kernel null.Image --vfio ff:1f.7
	expect_error 125 'behind no IOMMU' $M --kernel null.Image --vfio 0000:00:00.0
}
