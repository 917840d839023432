# shellcheck shell=sh
# Devices that other processes serve, by vhost-user: Debian's qemu-storage-daemon, virtiofsd and dpdk-testpmd.

# storage FILE SOCKET [QUEUES]: serves a file as a disk; $back_end
storage()
{
	command -v qemu-storage-daemon >/dev/null || skip "no qemu-storage-daemon here"
	qemu-storage-daemon --blockdev "driver=file,filename=$1,node-name=d" \
		--export "type=vhost-user-blk,id=e,node-name=d,writable=on,num-queues=${3:-1},addr.type=unix,addr.path=$2" >work/storage.log 2>&1 &
	back_end=$!
	wait_for_socket "$2"
}

# folder PATH SOCKET: serves a folder; $back_end
folder()
{
	command -v virtiofsd >/dev/null || skip "no virtiofsd here"
	rm -f "$2" # of one that was killed: the socket waited for is the new one
	virtiofsd --socket-path="$2" -o source="$1" -o sandbox=chroot >>work/fs.log 2>&1 &
	back_end=$!
	wait_for_socket "$2"
	[ -z "$AS_USER" ] || chmod a+rw "$2"
}

wait_for_socket()
{
	i=0
	until [ -S "$1" ]; do
		i=$((i + 1))
		[ $i -lt 600 ] || fail "no socket $1: $(cat work/*.log)"
		usleep 100000
	done
}

end_back_end()
{
	kill -9 $back_end 2>/dev/null
	wait $back_end 2>/dev/null || true
}

# vuser_blk TRANSPORT CPUS QUEUES: the same as of a disk of ours, by another process
vuser_blk()
{
	make_disk a 64
	storage work/a work/s "$3"
	( disk_guest rw --cpus "$2" --vhost-user "blk,socket=work/s,transport=$1" )
	status=$?
	end_back_end
	cat work/storage.log
	[ $status = 0 ] || fail "status $status"
	[ "$(head -c 8 work/a)" = microvm ] || fail "the host does not find the mark"
}

# vuser_rebind TRANSPORT N: rings start and stop N times, under load
vuser_rebind()
{
	make_disk a 16
	storage work/a work/s
	( rebind_guest disk "rebind,$2" "$2" --vhost-user "blk,socket=work/s,transport=$1" )
	status=$?
	end_back_end
	return $status
}

# vuser_fs TRANSPORT KERNEL: a folder of ours is the guest's, and what it writes there is here
vuser_fs()
{
	mkdir -p work/share/from-host
	cp -r ./*.sh Image work/share/from-host/
	(cd work/share/from-host && find . -type f -exec md5sum {} + >../sums)
	folder "$PWD/work/share" work/s
	( $BOOT --expect 'guest: fs status 0' --until-exit --verbose --fail-on 'guest: fs status [1-9]|nobody cared|Kernel panic' -- \
		--kernel "$(kernel "$2")" --initrd "$(initrd "$2")" --memory 384 --cpus 2 --cmdline "quiet t=fs,our-folder" \
		--fs "our-folder,socket=work/s,transport=$1" )
	status=$?
	end_back_end
	cat work/fs.log
	[ $status = 0 ] || fail "status $status"
	(cd work/share/from-guest && md5sum -c ../sums-of-guest) >work/compared || fail "$(grep -v OK work/compared)"
	[ "$(wc -l <work/compared)" -gt 10 ] || fail "only $(wc -l <work/compared) files"
}

# vuser_fs_build TRANSPORT: a guest builds a program in one folder with the compiler in another one, and has object by object what
# the host has; and the program boots
vuser_fs_build()
{
	only_in_the_emulated_host
	[ -x /opt/gcc/usr/bin/gcc ] || skip "no compiler for guests here"
	mkdir -p work/host
	cp -r payload work/share
	cp -r payload/* work/host/
	mount --bind work/host /opt/gcc/mnt && mount --bind /dev /opt/gcc/dev &&
		PATH=$PATH:/usr/bin TMPDIR=/mnt chroot /opt/gcc /usr/bin/make -C /mnt -j2 >work/host.log 2>&1
	status=$?
	umount /opt/gcc/mnt /opt/gcc/dev
	[ $status = 0 ] || fail "the host cannot build it: $(cat work/host.log)"
	folder "$PWD/work/share" work/s
	shares=$back_end
	folder /opt/gcc work/gcc
	( $BOOT --timeout 900s --expect 'guest: fs status 0' --until-exit --verbose --fail-on 'guest: fs status [1-9]|nobody cared|Kernel panic' -- \
		--kernel Image --initrd initrd.test --memory 512 --cpus 2 --cmdline "quiet t=fs,work,build" \
		--fs "work,socket=work/s,transport=$1" --fs "gcc,socket=work/gcc,transport=$1" )
	status=$?
	kill -9 $shares $back_end 2>/dev/null
	wait $shares $back_end 2>/dev/null
	cat work/fs.log
	[ $status = 0 ] || fail "status $status"
	diff -r work/host work/share || fail 'what the guest has built is something else'
	[ "$(find work/share -name '*.o' | wc -l)" -gt 15 ] || fail "few objects: $(ls work/share/*)"
	make_tap tap0
	$M --kernel work/share/bare.Image --net tap0 --cmdline "case=find host=$HOST_IP" --timeout 60 >out || fail "it does not run: $(cat out)"
	grep -q '^bare: passed' out || fail "it does not pass: $(cat out)"
}

our_folder()
{
	mkdir -p work/share
	echo "of the host" >work/share/file
	folder "$PWD/work/share" work/s
}

# vuser_fs_rebind TRANSPORT N: the folder goes and comes back N times, amid reads
vuser_fs_rebind()
{
	our_folder
	( rebind_guest fs "our-folder,rebind,$2" "$2" --fs "our-folder,socket=work/s,transport=$1" )
	status=$?
	end_back_end
	[ $status = 0 ] || { tail -n 9 work/fs.log; fail "status $status"; }
}

# peer FILE SOCKET: serves a file as a disk, by a back end of ours that knows what is in flight
peer()
{
	rm -f "$2"
	./disk-peer "$2" "$1" >>work/peer.log 2>&1 &
	back_end=$!
	wait_for_socket "$2"
}

# wait_for_lines FILE TEXT N: up to 60 s, for N lines with TEXT
wait_for_lines()
{
	n=0
	until [ "$(grep -c "$2" "$1")" -ge "$3" ]; do
		n=$((n + 1))
		[ $n -lt 600 ] || { look_at "$pid"; fail "no $3 lines with '$2' in $1: $(cat "$1")"; }
		usleep 100000
	done
}

# vuser_returns TRANSPORT N: the back end is killed N times amid verified writes, and another one started: the guest does not notice
vuser_returns()
{
	make_disk a 16
	peer work/a work/s
	echo $back_end >work/back-end
	$M --kernel Image --initrd initrd.test --cpus 2 --memory 384 --cmdline "quiet t=disk,rounds,$(($2 + 1))" --timeout 900 \
		--vhost-user "blk,socket=work/s,transport=$1" >out 2>err &
	pid=$!
	( turn=0
	  while [ $turn -lt "$2" ]; do
		turn=$((turn + 1))
		wait_for out "round $turn begins"
		usleep $((turn % 5 * 300000))
		# each other time with something in hand for sure
		[ $((turn % 2)) = 0 ] || { kill -USR1 $back_end; wait_for_lines work/peer.log 'holds' $((turn / 2 + 1)); }
		end_back_end
		usleep $((turn % 3 * 400000))
		peer work/a work/s
		echo $back_end >work/back-end
		wait_for_lines err "another back end is there, and goes on" $turn
	  done )
	status=$?
	back_end=$(cat work/back-end)
	wait $pid
	got=$?
	end_back_end
	cat out err work/peer.log
	[ $status = 0 ] && [ $got = 0 ] && grep -q 'guest: disk status 0' out || fail "status $got"
	[ "$(grep -c 'has closed the connection; another one is waited for' err)" = "$2" ] && [ "$(wc -l <err)" = $((2 * $2)) ] || fail "other lines: $(cat err)"
	! grep -q 'I/O error' out || fail "the guest noticed"
	[ "$(grep -c 'with [1-9][0-9]* in flight' work/peer.log)" -ge $(($2 / 2)) ] || fail "what was in flight is not known"
}

# vuser_storage_returns: Debian's storage daemon does not tell what is in flight: at rest the disk goes on, and else it needs a reset
vuser_storage_returns()
{
	make_disk a 16
	storage work/a work/s 2
	mkfifo work/in
	$M --kernel Image --initrd initrd.test --cpus 2 --memory 384 --cmdline "quiet t=disk,returns,3" --timeout 600 \
		--vhost-user blk,socket=work/s <work/in >out 2>err &
	pid=$!
	exec 8>work/in
	for turn in 1 2 3; do
		wait_for out "disk: at rest, $turn"
		end_back_end
		wait_for_lines err 'has closed the connection; another one is waited for' $turn
		[ $turn = 2 ] || storage work/a work/s 2
		[ $turn = 2 ] || wait_for_lines err 'another back end is there, and goes on' $turn
		echo >&8
		# and once the guest comes before it
		[ $turn != 2 ] || { sleep 1; storage work/a work/s 2; }
	done
	wait_for out 'disk: reading'
	kill -STOP $back_end
	sleep 1
	end_back_end
	wait_for err 'has closed the connection; the guest has to reset the device, and another one is waited for'
	storage work/a work/s 2
	wait_for err 'another back end is there$'
	echo >&8
	exec 8>&-
	wait $pid
	got=$?
	end_back_end
	cat out err
	[ $got = 0 ] && grep -q 'guest: disk status 0' out || fail "status $got"
	[ "$(wc -l <err)" = 8 ] || fail "other lines: $(cat err)"
}

# vuser_fs_returns TRANSPORT: the driver has to reset the device then, and finds the folder again
vuser_fs_returns()
{
	our_folder
	mkfifo work/in
	$M --kernel Image --initrd initrd.test --cpus 2 --memory 384 --cmdline "quiet t=fs,our-folder,returns" --timeout 300 \
		--fs "our-folder,socket=work/s,transport=$1" <work/in >out 2>err &
	pid=$!
	exec 8>work/in
	wait_for out 'fs: at rest'
	end_back_end
	wait_for err 'fs0: its back end by vhost-user has closed the connection; the guest has to reset the device, and another one is waited for'
	folder "$PWD/work/share" work/s
	wait_for err 'fs0: another back end is there$'
	echo >&8
	wait_for out 'fs: at rest again'
	# and once more, with nobody there when the driver comes
	end_back_end
	wait_for_lines err 'the guest has to reset the device' 2
	echo >&8
	wait_for out 'fs: mounts'
	sleep 1
	folder "$PWD/work/share" work/s
	exec 8>&-
	wait $pid
	got=$?
	end_back_end
	cat out err work/fs.log
	[ $got = 0 ] && grep -q 'guest: fs status 0' out || fail "status $got"
	[ "$(wc -l <err)" = 4 ] || fail "other lines: $(cat err)"
}

# vuser_other: what is started at the path afterwards is another disk: it is not taken, and the right one is
vuser_other()
{
	make_disk a 16
	make_disk b 17
	sum=$(md5sum <work/b)
	peer work/a work/s
	mkfifo work/in
	$M --kernel Image --initrd initrd.test --cpus 2 --memory 384 --cmdline "quiet t=disk,rounds,2" --timeout 300 \
		--vhost-user blk,socket=work/s <work/in >out 2>err &
	pid=$!
	exec 8>work/in
	wait_for out 'round 1 begins'
	end_back_end
	peer work/b work/s
	wait_for err 'vhost-user0: another back end is at its socket, and is not taken: its disk has another size, or other properties'
	sleep 2
	[ "$(grep -c 'is not taken' err)" = 1 ] || fail "it is said again: $(cat err)"
	end_back_end
	[ "$(md5sum <work/b)" = "$sum" ] || fail "the other disk was written"
	peer work/a work/s
	exec 8>&-
	wait $pid
	got=$?
	end_back_end
	cat out err
	[ $got = 0 ] && grep -q 'guest: disk status 0' out || fail "status $got"
}

# vuser_two: of two devices in two folders each finds its own back end again, by one process that can do nothing else
vuser_two()
{
	make_disk a 16
	make_disk b 17
	mkdir -p work/one work/two
	peer work/b work/two/s
	two=$back_end
	peer work/a work/one/s
	mkfifo work/in
	$M --kernel Image --initrd initrd.test --cpus 2 --memory 384 --cmdline "quiet t=disk,rounds,2" --timeout 300 \
		--vhost-user blk,socket=work/one/s --vhost-user blk,socket=work/two/../two/s <work/in >out 2>err &
	pid=$!
	exec 8>work/in
	wait_for out 'round 1 begins'
	brokers=$(cat /proc/[0-9]*/comm 2>/dev/null | grep -c microvm-broker)
	[ "$brokers" = 1 ] || fail "$brokers brokers"
	check_broker $broker_rights /
	end_back_end
	kill -9 $two
	wait_for_lines err 'another one is waited for' 2
	peer work/b work/two/s
	two=$back_end
	wait_for err 'vhost-user1: another back end is there, and goes on'
	peer work/a work/one/s
	wait_for err 'vhost-user0: another back end is there, and goes on'
	exec 8>&-
	wait $pid
	got=$?
	end_back_end
	kill -9 $two
	cat out err
	[ $got = 0 ] && grep -q 'guest: disk status 0' out || fail "status $got"
	[ "$(wc -l <err)" = 4 ] || fail "other lines: $(cat err)"
}

# vuser_killed TRANSPORT: the disk waits, with one line; everything else goes on, and the loop does not spin
vuser_killed()
{
	make_disk a 16
	make_disk b 16
	storage work/a work/s
	mkfifo work/in
	$M --kernel Image --initrd initrd.test --cpus 2 --memory 384 --cmdline "quiet t=dead" --timeout 300 \
		--vhost-user "blk,socket=work/s,transport=$1" --disk "work/b,transport=$1" <work/in >out 2>err &
	pid=$!
	exec 8>work/in
	( wait_for out 'guest: reading'
	  end_back_end
	  wait_for err 'vhost-user0: its back end by vhost-user has closed the connection; (the guest has to reset the device, and )?another one is waited for'
	  t0=$(awk '{ print $14 + $15 }' "/proc/$pid/task/$pid/stat")
	  sleep 2
	  t1=$(awk '{ print $14 + $15 }' "/proc/$pid/task/$pid/stat")
	  [ $((t1 - t0)) -lt 100 ] || fail "the loop used $((t1 - t0)) of 200 ticks" )
	status=$?
	end_back_end
	echo >&8
	exec 8>&-
	wait $pid
	got=$?
	cat out err
	[ $status = 0 ] && [ $got = 0 ] && grep -q 'guest: dead status 0' out || fail "status $got"
	[ "$(wc -l <err)" = 1 ] || fail "not one line: $(cat err)"
}

# vuser_stopped: a back end that does not answer holds up the driver that wants it to, for its time, and nobody else: the other CPU
# reads a disk of ours meanwhile. With one line it is given up.
vuser_stopped()
{
	make_disk a 16
	make_disk b 16
	storage work/a work/s
	mkfifo work/in
	$M --kernel Image --initrd initrd.test --cpus 2 --memory 384 --cmdline "quiet t=stopped" --timeout 300 \
		--vhost-user blk,socket=work/s --disk work/b <work/in >out 2>err &
	pid=$!
	exec 8>work/in
	wait_for out 'guest: ready'
	kill -STOP $back_end
	echo >&8
	exec 8>&-
	wait $pid
	got=$?
	kill -CONT $back_end
	end_back_end
	cat out err
	[ $got = 0 ] && grep -q 'guest: stopped status 0' out || fail "status $got"
	grep -q 'vhost-user0: its back end by vhost-user does not stop, and is given up; another one is waited for' err && [ "$(wc -l <err)" = 1 ] || fail "not the one line: $(cat err)"
}

# stopped_guest TRANSPORT WORDS START KIND OPTIONS: what START has started is stopped; it is given up with a line, and the next one is used
stopped_guest()
{
	start=$3
	$start
	mkfifo work/in
	$M --kernel Image --initrd initrd.test --cpus 2 --memory 384 --cmdline "quiet ip4=$GUEST_IP/24 t=stopped,$2" --timeout 300 \
		"$4" "$5,socket=work/s,transport=$1" <work/in >out 2>err &
	pid=$!
	exec 8>work/in
	( wait_for out 'guest: ready'
	  kill -STOP $back_end
	  echo >&8
	  wait_for err 'its back end by vhost-user does not stop, and is given up; another one is waited for'
	  end_back_end
	  $start
	  echo $back_end >work/back-end
	  wait_for err 'another back end is there' )
	status=$?
	[ ! -e work/back-end ] || back_end=$(cat work/back-end)
	exec 8>&-
	wait $pid
	got=$?
	end_back_end
	cat out err
	[ $status = 0 ] && [ $got = 0 ] && grep -q 'guest: stopped status 0' out || fail "status $got"
	[ "$(wc -l <err)" = 2 ] || fail "other lines: $(cat err)"
}

vuser_fs_stopped() # TRANSPORT
{
	stopped_guest "$1" fs,our-folder our_folder --fs our-folder
}

vuser_net_stopped() # TRANSPORT
{
	stopped_guest "$1" "net,$HOST_IP" "testpmd_echo work/s" --vhost-user net
}

# testpmd SOCKET PAIRS ARGS...: a card's back end, which polls; $back_end. It goes on until it is ended: it prints its counts now and then.
testpmd()
{
	command -v dpdk-testpmd >/dev/null || skip "no dpdk-testpmd here"
	s=$1 pairs=$2
	shift 2
	mkdir -p /var/run work
	rm -f "$s"
	dpdk-testpmd --lcores '(0,1)@(0-'$(($(nproc) - 1))')' --no-huge -m 64 --no-pci --no-shconf --no-telemetry --file-prefix "$$" -d /opt/dpdk/drivers \
		--vdev "net_vhost0,iface=$s,client=0,queues=$pairs" "$@" --auto-start --disable-link-check --no-mlockall --total-num-mbufs=8192 --rxq="$pairs" --txq="$pairs" \
		--stats-period=600 >>work/testpmd.log 2>&1 </dev/null &
	back_end=$!
	wait_for_socket "$s"
	# who polls is to take what the others leave of a CPU
	for t in /proc/$back_end/task/*; do
		! grep -q worker "$t/comm" || renice -n 19 -p "${t##*/}" >/dev/null
	done
	[ -z "$AS_USER" ] || chmod a+rw "$s"
}

# testpmd_echo SOCKET: answers pings to whatever address
testpmd_echo()
{
	testpmd "$1" 1 -- --forward-mode=icmpecho
}

# testpmd_tap SOCKET PAIRS: on the other side is tap0 of the host's
testpmd_tap()
{
	testpmd "$1" "$2" --vdev net_tap0,iface=tap0 --
	i=0
	until ip addr add $HOST_IP/24 dev tap0 2>/dev/null; do
		i=$((i + 1))
		[ $i -lt 100 ] || fail "no tap0: $(cat work/testpmd.log)"
		usleep 100000
	done
	ip link set tap0 up
	iperf3 -s -D -B $HOST_IP --pidfile /tmp/iperf3.pid >/dev/null 2>&1
}

# vuser_net KERNEL TRANSPORT CPUS PAIRS: the same as of a card of ours, by DPDK
vuser_net()
{
	testpmd_tap work/s "$4"
	( run_net "$1" "$3" --memory 384 --vhost-user "net,socket=work/s,transport=$2,queues=$4" ) >log
	status=$?
	end_back_end
	tail -n 40 work/testpmd.log
	cat log
	[ $status = 0 ] || fail "status $status"
	sed -n "s/^[^a-z]*\(iperf [rt]x: .*\)/figure: a card by testpmd, $2, pairs $4: \1/p" log
	[ "$4" = 1 ] || grep -q 'input\.1' log || fail 'no second pair of queues'
}

# vuser_net_rebind TRANSPORT N: rings start and stop N times, under pings
vuser_net_rebind()
{
	testpmd_echo work/s
	( rebind_guest rebind "$2,$HOST_IP,stay" "$2" --cmdline "ip4=$GUEST_IP/24" --vhost-user "net,socket=work/s,transport=$1" )
	status=$?
	end_back_end
	[ $status = 0 ] || { tail -n 40 work/testpmd.log; fail "status $status"; }
}

# vuser_net_returns TRANSPORT N: the back end is killed N times amid pings, and another one started: the link is down, and up again
vuser_net_returns()
{
	testpmd_echo work/s
	echo $back_end >work/back-end
	$M --kernel Image --initrd initrd.test --memory 384 --cmdline "quiet ip4=$GUEST_IP/24 t=away,$2,$HOST_IP" --timeout 600 \
		--vhost-user "net,socket=work/s,transport=$1" >out 2>err </dev/null &
	pid=$!
	( turn=0
	  while [ $turn -lt "$2" ]; do
		turn=$((turn + 1))
		wait_for out "away: $turn"
		end_back_end
		wait_for_lines err 'has closed the connection; another one is waited for' $turn
		usleep $((turn % 3 * 400000))
		testpmd_echo work/s
		echo $back_end >work/back-end
		wait_for_lines err 'another back end is there, and goes on' $turn
	  done )
	status=$?
	back_end=$(cat work/back-end)
	wait $pid
	got=$?
	end_back_end
	tail -n 60 work/testpmd.log
	cat out err
	[ $status = 0 ] && [ $got = 0 ] && grep -q 'guest: away status 0' out || fail "status $got"
	[ "$(wc -l <err)" = $((2 * $2)) ] || fail "other lines: $(cat err)"
}

vuser_bad()
{
	mkdir -p work
	expect_error 125 "vhost-user0: socket 'work/none': No such file or directory \\(start the back end first\\)" \
		$M --kernel null.Image --vhost-user blk,socket=work/none
	: >work/file
	expect_error 125 "vhost-user0: 'work/file' is no socket" $M --kernel null.Image --vhost-user blk,socket=work/file
	expect_error 125 'fd=9: not an open socket' $M --kernel null.Image --fs t,fd=9
	expect_error 125 "vhost-user0: socket 'work/none': No such file or directory" $M --kernel null.Image --vhost-user net,socket=work/none
	expect_error 125 'queues=9, but a card by vhost-user has at most 4 pairs' $M --kernel null.Image --vhost-user net,socket=work/none,queues=9
	expect_error 125 'mtu= is for net' $M --kernel null.Image --vhost-user blk,socket=work/none,mtu=1400
	expect_error 125 'tag= is for fs' $M --kernel null.Image --vhost-user net,socket=work/none,tag=t
	socat UNIX-LISTEN:work/s,fork EXEC:'echo no such protocol here for you' 2>/dev/null &
	back_end=$!
	wait_for_socket work/s
	expect_error 125 "fs0: the back end('s answer is not vhost-user's| has closed the connection)" $M --kernel null.Image --fs t,socket=work/s
	end_back_end
	expect_error 125 "fs0: socket 'work/s': Connection refused \\(nobody listens any more" $M --kernel null.Image --fs t,socket=work/s
	rm -f work/s
	socat UNIX-LISTEN:work/s EXEC:'sleep 30' 2>/dev/null &
	back_end=$!
	wait_for_socket work/s
	expect_error 125 "fs0: the back end does not answer" $M --kernel null.Image --fs t,socket=work/s
	end_back_end
	rm -f work/s
	make_disk a 1
	storage work/a work/s
	expect_error 125 'fs0: the back end has one queue' $M --kernel null.Image --fs t,socket=work/s
	timeout 20 $M --kernel null.Image --vhost-user blk,socket=work/s || fail "status $?"
	timeout 20 $M --kernel null.Image --vhost-user blk,socket=work/s --dry-run || fail "status $? of a dry run"
	end_back_end
}
