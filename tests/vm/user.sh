# shellcheck shell=sh
# --net user: the real passt between a guest and this host.

FAR_IP=10.9.9.1
SOMEBODY='setpriv --reuid=65533 --regid=65533 --clear-groups --inh-caps=-all --no-new-privs'

# What passt wants to find: an interface with an address and a default route, a name server. The latter, and an
# iperf3 server, are on an address of the host's that is not the one the guest is given.
user_host()
{
	only_in_the_emulated_host
	command -v passt >/dev/null || skip "no passt here"
	ip tuntap add tap0 mode tap
	ip addr add $HOST_IP/24 dev tap0
	ip link set tap0 up
	ip route add default via 192.168.77.254 dev tap0
	ip addr replace $FAR_IP/32 dev lo
	echo "nameserver $FAR_IP" >/etc/resolv.conf
	iperf3 -s -D -B $FAR_IP --pidfile /tmp/iperf3.pid >/dev/null 2>&1
	mkdir -p work
	chmod 777 work
	# the question comes back, with one address where it asked for that
	cat >work/dns <<-'END'
		#!/bin/bash
		q=$(head -c 512 | od -An -v -tx1 | tr -d ' \n')
		n=0000 answer=
		[ "${q: -8:4}" = 001c ] || { n=0001 answer=c00c000100010000003c00040a090901; }
		printf "$(sed 's/../\\x&/g' <<<"${q:0:4}81800001${n}00000000${q:24}$answer")"
	END
	chmod +x work/dns
	socat -t 10 "UDP4-RECVFROM:53,bind=$FAR_IP,fork" EXEC:work/dns 2>/dev/null &
	dns=$!
}

# passts PID: the processes that it started, by number
passts()
{
	awk -v parent="$1" '$4 == parent && /passt/ { print $1 }' /proc/[0-9]*/stat 2>/dev/null
}

# Nothing is left running a moment after the VM's end.
user_gone()
{
	i=0
	while kill -0 "$1" 2>/dev/null && ! grep -q '^State:.*zombie' "/proc/$1/status"; do
		i=$((i + 1))
		[ $i -lt 50 ] || fail "passt runs on"
		usleep 100000
	done
}

# user_boot TRANSPORT WORDS COMMAND...: starts a guest whose input is descriptor 8; $pid, $passt
user_boot()
{
	transport=$1 words=$2
	shift 2
	mkfifo work/in
	chmod 666 work/in
	"$@" --kernel Image --initrd initrd.test --net "user,publish=8080:80,transport=$transport${mtu:+,mtu=$mtu}${limits:+,$limits}" --irq-check \
		--cmdline "quiet t=user,$words" --timeout 200 <work/in >out 2>err &
	pid=$!
	exec 8>work/in
}

# What the guest serves arrives whole at the host's port 8080.
user_fetch()
{
	for what in data sum; do
		printf 'GET /%s HTTP/1.0\r\n\r\n' $what | socat -t 20 - TCP:$1:8080 >work/got || fail "no connection to $1:8080"
		sed '1,/^\r*$/d' work/got >work/$what
	done
	[ "$(md5sum <work/data)" = "$(cat work/sum)" ] || fail "$1:8080 gave $(stat -c %s work/data) bytes, and they are others"
}

user_net()
{
	user_host
	mtu=${3:-}
	user_boot "$1" "$FAR_IP,80" ${2:-} ./microvm
	( wait_for out 'guest: listening|guest: user status'
	  user_fetch 127.0.0.1
	  user_fetch $HOST_IP )
	status=$?
	passt=$(passts $pid)
	ps -o user,args 2>/dev/null | grep '[p]asst --' || tr '\0' ' ' <"/proc/$passt/cmdline"
	echo >&8
	exec 8>&-
	wait $pid
	got=$?
	kill $dns
	cat out err
	[ $status = 0 ] && [ $got = 0 ] && grep -q 'guest: user status 0' out || fail "status $got"
	[ ! -s err ] || fail "it said: $(cat err)"
	user_gone "$passt"
	sed -n 's/\r$//; s/^iperf \(.*\)/figure: --net user over '"$1"', MTU '"${3:-1500}"', iperf3 \1/p' out
}

# 256 KiB a second are 2.1 Mbit/s, and a tenth of a second's worth may come at once: iperf3 has one second each way
user_limited()
{
	limits=bps=256K
	user_net pci
	for way in tx rx; do
		rate=$(sed -n "s/\r$//; s/^iperf $way: \([0-9.]*\).*/\1/p" out)
		awk "BEGIN { exit !($rate > 0.3 && $rate < 2.8) }" || fail "$way: $rate Mbit/s"
	done
}

user_as_user()
{
	chmod 666 /dev/kvm
	( user_net "$1" "$SOMEBODY" )
	status=$?
	chmod 600 /dev/kvm
	return $status
}

# user_rebind TRANSPORT N: the driver goes and comes back
user_rebind()
{
	user_host
	( rebind_guest user "rebind,$2" "$2" --net "user,transport=$1" )
	status=$?
	kill $dns
	return $status
}

# The link goes down, with one line, and everything else goes on.
user_killed()
{
	user_host
	user_boot pci link ./microvm
	( wait_for out 'guest: carrier 1'
	  kill -9 "$(passts $pid)" || fail "no passt"
	  wait_for err 'net0: passt is gone \(.*\); the link is down'
	  wait_for out 'guest: carrier 0' )
	status=$?
	echo >&8
	exec 8>&-
	wait $pid
	got=$?
	kill $dns
	cat out err
	[ $status = 0 ] && [ $got = 0 ] && grep -q 'guest: user status 0' out || fail "status $got"
	[ "$(wc -l <err)" = 1 ] || fail "not one line: $(cat err)"
}

user_bad()
{
	expect_error 125 'net0: no program passt in PATH' env PATH=/nowhere $M --kernel null.Image --net user
	user_host
	kill $dns
	expect_error 125 "publish=: the host's port 5201: Address (already )?in use" $M --kernel null.Image --net user,publish=5201:80
	$M --kernel null.Image --net user 2>err || fail "status $?: $(cat err)"
	[ ! -s err ] || fail "it said: $(cat err)"
	# no route, no network
	ip route del default
	expect_error 125 'net0: passt ended with status 1: ' $M --kernel null.Image --net user
	[ -z "$(pidof passt)" ] || fail 'a passt is left'
}
