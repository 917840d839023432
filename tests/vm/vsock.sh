# shellcheck shell=sh
# Sockets between guest and host.

# An initramfs with the other end in it; the kernel unpacks one archive behind the other.
vsock_initrd()
{
	mkdir -p work/more
	cp vsock-peer work/more/
	{ cat initrd.test; (cd work/more && find . | cpio -o -H newc 2>/dev/null); } >work/initrd
}

# vsock_both TRANSPORT N BYTES: as many connections each way, with so much there and back in each
vsock_both()
{
	[ -e /dev/vhost-vsock ] || skip "no /dev/vhost-vsock here"
	vsock_initrd
	mkfifo work/in
	./vsock-peer listen 7 >work/host &
	host=$!
	$M --kernel Image --initrd work/initrd --cpus 2 --vsock "33,transport=$1" \
		--cmdline "quiet t=vsock,$2,$3" --timeout 300 <work/in >out 2>err &
	pid=$!
	exec 8>work/in
	( wait_for out 'guest: listening'
	  ./vsock-peer connect 33 8 "$2" "$3" >work/back || fail "from the host: $(cat work/back)"
	  expect_error 125 "vsock0: CID 33 is another VM's" $M --kernel null.Image --vsock 33 )
	status=$?
	echo >&8
	exec 8>&-
	wait $pid
	got=$?
	kill $host
	cat out err work/back
	[ $status = 0 ] && [ $got = 0 ] && grep -q 'guest: vsock status 0' out || fail "status $got"
	sed -n 's/^vsock-peer: /figure: host to guest over '"$1"': /p' work/back
}

vsock_bad()
{
	expect_error 125 "'2' is not a number from 3" $M --kernel null.Image --vsock 2
	expect_error 125 "'0' is not a number from 3" $M --kernel null.Image --vsock 0
	expect_error 125 'not a number from 3' $M --kernel null.Image --vsock 4294967295
	expect_error 125 'not a number from 3' $M --kernel null.Image --vsock 99999999999
	expect_error 125 'cid= is not given' $M --kernel null.Image --vsock id=v
	expect_error 125 "vhost-vsock only" $M --kernel null.Image --vsock 3,uds=/tmp/v
}
