# shellcheck shell=sh
# shellcheck disable=SC2086 # commands of several words
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
		--cmdline "quiet t=vsock,$2,$3" --timeout $((300 + $2 * $3 / 500000)) <work/in >out 2>err &
	pid=$!
	exec 8>work/in
	( wait_for out 'guest: listening' $((60 + $2 * $3 / 1000000))
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
	expect_error 125 "'1' is not a number from 3" $M --kernel null.Image --vsock 1
	expect_error 125 'not a number from 3' $M --kernel null.Image --vsock 4294967295
	expect_error 125 'not a number from 3' $M --kernel null.Image --vsock 99999999999
	expect_error 125 'cid= is not given' $M --kernel null.Image --vsock id=v
}

find_broker() # $broker
{
	broker=$(grep -ls microvm-broker /proc/[0-9]*/comm | head -n 1)
	broker=${broker#/proc/} broker=${broker%/comm}
	[ -n "$broker" ] || fail 'no broker'
}

# check_broker CAPABILITIES [ROOT]: the process that connects has these rights, and no others
check_broker()
{
	find_broker
	for c in CapPrm CapEff; do
		is "$broker" $c "$1"
	done
	for c in CapInh CapBnd CapAmb; do
		is "$broker" $c 0000000000000000
	done
	is "$broker" NoNewPrivs 1
	is "$broker" Seccomp 2
	for n in mnt net ipc uts; do
		[ "$(readlink "/proc/$broker/ns/$n")" != "$(readlink "/proc/self/ns/$n")" ] || fail "the broker's namespace $n is ours"
	done
	[ "$(readlink "/proc/$broker/root")" = "${2:-$PWD/work}" ] || fail "the broker's root: $(readlink "/proc/$broker/root")"
	[ "$(ls "/proc/$broker/fd" | wc -l)" = 3 ] || fail "the broker's descriptors: $(ls -l "/proc/$broker/fd")"
	grep -q 'Max processes *0 *0' "/proc/$broker/limits" || fail "the broker's limits: $(cat "/proc/$broker/limits")"
}

# By a program that is not ours: a line, its answer, and what is said comes back. The guest gives back what it is sent.
vsock_uds_by_socat()
{
	(echo 'CONNECT 8'; echo hello; sleep 2) | socat -t 20 - UNIX:work/v >work/said
	sed -n 1p work/said | grep -q '^OK [0-9][0-9]*$' || fail "socat's line has no answer: $(cat work/said)"
	[ "$(sed -n 2p work/said)" = hello ] || fail "socat had back: $(cat work/said)"
}

# A socket that nobody listens on any more.
vsock_stale()
{
	./vsock-peer listen-unix "$1" >work/stale &
	wait_for work/stale listening
	kill $!
	wait $!
	[ -S "$1" ] || fail "no $1"
}

# vsock_uds_boot TRANSPORT N BYTES [COMMAND...]: a guest that connects so often and then listens; $pid. For N BYTES another mode of
# tests/guest/vsock.sh and its N will do; COMMAND: instead of $M
vsock_uds_boot()
{
	transport=$1 n=$2 bytes=$3
	shift 3
	vsock_initrd
	mkfifo work/in
	[ $# != 0 ] || vsock_stale work/v
	${1:+$SOMEBODY} ./vsock-peer listen-unix work/v_7 >work/host &
	host=$!
	[ $# != 0 ] || set -- $M
	"$@" --kernel Image --initrd work/initrd --cpus 2 --vsock "33,uds=work/v,transport=$transport" \
		--cmdline "quiet t=vsock,$n,$bytes" --timeout ${limit:-400} <work/in >out 2>err &
	pid=$!
	exec 8>work/in
}

vsock_uds_over() # STATUS
{
	echo >&8
	exec 8>&-
	wait $pid
	got=$?
	kill $host
	cat out err work/back
	[ "$1" = 0 ] && [ $got = 0 ] && grep -q 'guest: vsock status 0' out || fail "status $got"
	name_goes work/v
}

# vsock_uds_both TRANSPORT N BYTES: as vsock_both, by Unix sockets
vsock_uds_both()
{
	limit=$((400 + $2 * $3 / 500000))
	vsock_uds_boot "$@"
	( wait_for out 'guest: listening' $((60 + $2 * $3 / 1000000))
	  check_broker $broker_rights
	  ./vsock-peer connect-unix work/v 8 "$2" "$3" >work/back || fail "from the host: $(cat work/back)"
	  vsock_uds_by_socat
	  dump $pid err
	  grep -q "vsock0: from_host $(($2 + 1)), from_guest $2, cut 0, refused 0" err || fail "no such count" )
	vsock_uds_over $?
	sed -n 's/^vsock-peer: /figure: host to guest by uds= over '"$1"': /p' work/back
}

# The guest's part of an ssh: dropbear and socat with their own loader and libraries, and whom it lets in
ssh_initrd()
{
	from=/opt/ssh/debian
	mkdir -p work/more/etc/dropbear work/more/root/.ssh work/more/ssh/lib
	ssh-keygen -q -t ed25519 -N '' -f work/key || fail 'no key'
	cp work/key.pub work/more/root/.ssh/authorized_keys
	echo root::0:0:root:/root:/bin/sh >work/more/etc/passwd
	echo /bin/sh >work/more/etc/shells
	loader=$from/usr/lib/ld-linux-aarch64.so.1
	cp $loader $from/usr/sbin/dropbear $from/usr/bin/socat1 work/more/ssh/
	for program in dropbear socat1; do
		$loader --library-path $from/usr/lib/aarch64-linux-gnu --list work/more/ssh/$program
	done | sed -n 's|.* => \(/opt/ssh/[^ ]*\) .*|\1|p' | sort -u | while read -r library; do
		cp "$library" work/more/ssh/lib/
	done
}

# in_guest ADDRESS COMMAND: by ssh, as people do it
in_guest()
{
	timeout 120 ssh -F none -i work/key -o ProxyCommand="systemd-ssh-proxy $1 22" -o ProxyUseFdpass=yes -o BatchMode=yes \
		-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR root@guest "$2"
}

# vsock_ssh vsock|vsock-mux OPTIONS: OpenSSH's client and systemd's proxy for it, which are not ours, are at home in the guest
vsock_ssh()
{
	case $1 in vsock) address=vsock/33 ;; *) address=vsock-mux$PWD/work/v ;; esac
	command -v systemd-ssh-proxy >/dev/null || skip 'no systemd-ssh-proxy here'
	[ "$1" != vsock ] || [ -e /dev/vhost-vsock ] || skip "no /dev/vhost-vsock here"
	mkdir -p work
	ssh_initrd
	vsock_initrd
	mkfifo work/in
	$M --kernel Image --initrd work/initrd --memory 384 --cpus 2 --vsock "33$2" --cmdline 'quiet t=vsock,ssh' --timeout 300 <work/in >out 2>err &
	pid=$!
	exec 8>work/in
	( wait_for out 'guest: listening'
	  said=$(in_guest "$address" 'cat /proc/cmdline; exit 7')
	  got=$?
	  [ $got = 7 ] || fail "a command's status 7 is $got here"
	  echo "$said" | grep -q 't=vsock,ssh' || fail "the guest's command line: $said"
	  head -c 3000000 /dev/urandom >work/bytes
	  in_guest "$address" 'tee /tmp/bytes' <work/bytes >work/back && cmp work/bytes work/back || fail 'bytes there and back'
	  i=0
	  while [ $i -lt 5 ]; do
		in_guest "$address" "cmp /tmp/bytes -; echo shell $i" <work/bytes >work/said.$i &
		i=$((i + 1))
	  done
	  wait
	  [ "$(sort -u work/said.* | grep -c '^shell [0-4]$')" = 5 ] && [ "$(cat work/said.* | wc -l)" = 5 ] || fail "five at once: $(cat work/said.*)" )
	guest_over $? vsock
}

# Clients that do what they should not, and a broker that is killed; the guest is well all the while.
vsock_uds_trouble()
{
	vsock_uds_boot pci 3 1000
	( wait_for out 'guest: listening'
	  [ -z "$(echo 'GET / HTTP/1.0' | socat -t 20 - UNIX:work/v)" ] || fail 'garbage had an answer'
	  [ -z "$(echo 'CONNECT 99' | socat -t 20 - UNIX:work/v)" ] || fail 'nobody listens there'
	  # slow: its line never ends
	  (sleep 60) | socat -t 1 - UNIX:work/v &
	  # does not read what it asked for
	  (echo 'CONNECT 8'; head -c 4000000 /dev/zero; sleep 60) | socat -u - UNIX:work/v &
	  deaf=$!
	  sleep 3
	  kill $deaf
	  ./vsock-peer connect-unix work/v 8 5 1000 >work/back || fail "after a client that does not read: $(cat work/back)"
	  expect_error 125 'another program listens on it' $M --kernel null.Image --vsock 34,uds=work/v
	  find_broker
	  kill -9 "$broker"
	  wait_for err 'vsock0: the process that connects for it is gone'
	  ./vsock-peer connect-unix work/v 8 5 1000 >work/back || fail "without a broker: $(cat work/back)" )
	status=$?
	rm -f work/v # its broker would have
	vsock_uds_over $status
}

# vsock_uds_rebind TRANSPORT N: the guest's driver goes with connections open, and comes back
vsock_uds_rebind()
{
	limit=$((400 + 10 * $2))
	vsock_uds_boot "$1" rebind "$2"
	( rebinds vsock "$2"
	  dump $pid err
	  grep -q 'vsock0: connections 0 of' err || fail "left: $(grep 'vsock0: connections' err)" )
	vsock_uds_over $?
}

# vsock_rebind TRANSPORT N: the same by vhost
vsock_rebind()
{
	[ -e /dev/vhost-vsock ] || skip "no /dev/vhost-vsock here"
	vsock_initrd
	mkfifo work/in
	./vsock-peer listen 7 >work/host &
	host=$!
	$M --kernel Image --initrd work/initrd --cpus 2 --vsock "33,transport=$1" --cmdline "quiet t=vsock,rebind,$2" \
		--timeout $((400 + 10 * $2)) <work/in >out 2>err &
	pid=$!
	exec 8>work/in
	( rebinds vsock "$2" )
	status=$?
	echo >&8
	exec 8>&-
	wait $pid
	got=$?
	kill $host
	cat out err
	[ $status = 0 ] && [ $got = 0 ] && grep -q 'guest: vsock status 0' out || fail "status $got"
}

# vsock_uds_at_once TRANSPORT: as many connections at a time as there may be, half of them the guest's; one more waits until those of
# the host's end
vsock_uds_at_once()
{
	vsock_uds_boot "$1,max-conns=1024" hold 512
	( wait_for out 'guest: listening' 200
	  ./vsock-peer hold-unix work/v 8 512 >work/back &
	  held=$!
	  wait_for work/back holding 200
	  dump $pid err
	  grep -q 'vsock0: connections 1024 of 1024' err || fail "not all: $(grep 'vsock0: connections' err)"
	  ./vsock-peer connect-unix work/v 8 1 1000 >work/next &
	  next=$!
	  sleep 3
	  [ ! -s work/next ] || fail 'one more was taken'
	  echo "figure: 1024 connections by uds= at once, and $(own_kib $pid) KiB beside the guest's memory"
	  kill $held
	  wait $next || fail "the one that waited: $(cat work/next)"
	  i=0
	  until dump $pid err && grep 'vsock0: connections' err | tail -n 1 | grep -q 'connections 512 of'; do
		i=$((i + 1))
		[ $i -lt 60 ] || fail "not 512: $(grep 'vsock0: connections' err)"
		sleep 1
	  done )
	vsock_uds_over $?
}

# The VM is killed with connections of either side's open: both ends hear of it, nothing is left, and the name is free.
vsock_uds_killed()
{
	vsock_uds_boot pci hold 20
	( wait_for out 'guest: listening'
	  ./vsock-peer hold-unix work/v 8 10 >work/back &
	  held=$!
	  wait_for work/back holding
	  dump $pid err
	  grep -q 'vsock0: connections 30 of' err || fail "not all: $(grep 'vsock0: connections' err)"
	  kill -9 $pid
	  wait_for work/back 'all were ended'
	  wait $held || fail "a client: $(cat work/back)"
	  name_goes work/v )
	status=$?
	kill -9 $pid 2>/dev/null
	exec 8>&-
	wait $pid
	./vsock-peer connect-unix work/v 8 1 1 2>/dev/null && fail 'somebody is still there'
	i=0
	while [ "$(fds_of $host)" -gt 4 ]; do
		i=$((i + 1))
		[ $i -lt 50 ] || fail "$(fds_of $host) descriptors are left to who listens"
		usleep 100000
	done
	kill $host
	[ $status = 0 ] || exit 1
	$M --kernel null.Image --vsock 33,uds=work/v || fail 'the name is not free'
	name_goes work/v
}

# All of it without root: the monitor, its broker, and who listens.
vsock_uds_as_user()
{
	only_in_the_emulated_host
	mkdir work
	chmod 777 work
	chmod 666 /dev/kvm
	( vsock_uds_boot pci 10 10000 $SOMEBODY ./microvm --irq-check --grace 0
	  ( wait_for out 'guest: listening'
	    check_broker 0000000000000000
	    grep -q '^Uid:	65533' "/proc/$pid/status" || fail 'it is root'
	    $SOMEBODY ./vsock-peer connect-unix work/v 8 10 10000 >work/back || fail "from the host: $(cat work/back)" )
	  vsock_uds_over $? )
	status=$?
	chmod 600 /dev/kvm
	return $status
}

vsock_uds_bad()
{
	mkdir -p work/v
	expect_error 125 'there is a folder, which is left as it is' $M --kernel null.Image --vsock 3,uds=work/v
	rmdir work/v
	echo kept >work/v
	expect_error 125 'there is a file, which is left as it is' $M --kernel null.Image --vsock 3,uds=work/v
	[ "$(cat work/v)" = kept ] || fail 'a file was touched'
	rm work/v
	expect_error 125 'the folder: No such file' $M --kernel null.Image --vsock 3,uds=work/none/v
	$M --kernel null.Image --vsock 3,uds=work/v --dry-run || fail 'a dry run'
	name_goes work/v
	vsock_stale work/v
	$M --kernel null.Image --vsock 3,uds=work/v || fail 'a null guest'
	name_goes work/v
	$M --kernel null.Image --vsock 3,uds=work/v --no-sandbox 2>err || fail "without a sandbox: $(cat err)"
	name_goes work/v
}
