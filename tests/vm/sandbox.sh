# shellcheck shell=sh
# shellcheck disable=SC2086 # options of several words
# What the process has given up, read from /proc while a guest runs, and what it answers to those who try.

user='setpriv --reuid=65533 --regid=65533 --clear-groups --inh-caps=-all'

# of PID NAME: a value of /proc/PID/status, or of one of its tasks
of()
{
	sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"
}

# is PID NAME VALUE
is()
{
	[ "$(of "$1" "$2")" = "$3" ] || fail "$2 of $1 is '$(of "$1" "$2")', not '$3'"
}

# A guest that stays, with what it was given; its process is $pid.
start_watched()
{
	"$@" --grace 0 --kernel Image --initrd initrd.test --cmdline quiet --timeout 120 --result work/result </dev/null >work/out 2>work/err &
	pid=$!
	n=0
	until grep -q 'guest:' work/out; do
		n=$((n + 1))
		[ $n -lt 600 ] && kill -0 $pid 2>/dev/null || fail "no prompt: $(cat work/err)"
		usleep 100000
	done
	# behind setpriv and the wrapper
	[ "$(readlink "/proc/$pid/exe")" = "$PWD/${program:-microvm}" ] || fail "$pid is $(readlink "/proc/$pid/exe")"
}

end_watched()
{
	kill $pid
	wait $pid
	got=$?
	[ $got = 143 ] || fail "status $got after SIGTERM: $(cat work/err; tail -n 2 work/out)"
}

# All tasks: no capability, no way to get one, a filter
check_tasks()
{
	for t in /proc/$pid/task/*; do
		t=$pid/task/${t##*/}
		for c in CapInh CapPrm CapEff CapBnd CapAmb; do
			is "$t" $c 0000000000000000
		done
		is "$t" NoNewPrivs 1
		# the kernel's own workers, tasks of ours from Linux 6.4 on, make no system calls
		case $(of "$t" Name) in vhost-* | iou-*) ;; *) is "$t" Seccomp 2 ;; esac
	done
}

check_namespaces()
{
	for n in mnt net ipc uts user; do
		[ "$(readlink "/proc/$pid/ns/$n")" != "$(readlink "/proc/self/ns/$n")" ] || fail "the namespace $n is ours"
	done
	[ "$(wc -l <"/proc/$pid/mountinfo")" = 1 ] || fail "mounts: $(cat "/proc/$pid/mountinfo")"
	[ -z "$(ls -A "/proc/$pid/root/")" ] || fail "in its root: $(ls -A "/proc/$pid/root/")"
	grep -q ' / / ro,nosuid,nodev,noexec' "/proc/$pid/mountinfo" || fail "its root: $(cat "/proc/$pid/mountinfo")"
}

# Each descriptor is one that the VM needs, and there are no more than it needs.
check_fds()
{
	for f in /proc/$pid/fd/*; do
		case $(readlink "$f") in
		/dev/null | "$PWD"/work/*) ;;
		/dev/net/tun | /dev/vhost-net) ;;
		anon_inode:kvm-vm | anon_inode:kvm-vcpu:? | 'anon_inode:[io_uring]') ;;
		'anon_inode:[eventfd]' | 'anon_inode:[timerfd]' | 'anon_inode:[signalfd]') ;;
		*) fail "descriptor ${f##*/} is $(readlink "$f")" ;;
		esac
	done
	for one in kvm-vm io_uring signalfd vhost-net net/tun; do
		n=$(for f in /proc/$pid/fd/*; do readlink "$f"; done | grep -c "$one")
		[ "$n" = 1 ] || fail "$n descriptors of $one"
	done
	grep -q '^Max open files *3  *3 ' "/proc/$pid/limits" || fail "$(grep 'open files' "/proc/$pid/limits")"
	grep -q '^Max core file size *0  *0 ' "/proc/$pid/limits" || fail "$(grep 'core' "/proc/$pid/limits")"
}

# No process either, where there is nothing that the kernel's workers are for, as a console in a file is.
check_processes()
{
	./microvm --grace 0 --kernel Image --initrd initrd.test --cmdline quiet --console none --timeout 120 </dev/null 2>work/err &
	pid=$!
	wait_for "/proc/$pid/limits" '^Max processes *0  *0 '
	end_watched
}

# threads_of PID NAME: of each of its threads, or of all with that name, what it may do; the kernel's own workers, which are
# tasks of ours from Linux 6.4 on, make no system calls
threads_of()
{
	for t in /proc/$1/task/*; do
		t=$1/task/${t##*/}
		case $(of "$t" Name) in
		vhost-* | iou-*) what="the kernel's own" ;;
		*) what=${2:-$(of "$t" Name)} ;;
		esac
		echo "thread, $what: capabilities $(of "$t" CapInh) $(of "$t" CapPrm) $(of "$t" CapEff) $(of "$t" CapBnd) $(of "$t" CapAmb)," \
			"no new privileges $(of "$t" NoNewPrivs), seccomp $(of "$t" Seccomp)"
	done | sed 's/0000000000000000/0/g'
}

namespaces_of()
{
	own=
	for n in ipc mnt net pid user uts; do
		[ "$(readlink "/proc/$1/ns/$n")" = "$(readlink "/proc/self/ns/$n")" ] || own="$own $n"
	done
	echo "namespaces of its own:$own; mounts: $(wc -l <"/proc/$1/mountinfo")"
}

# lockdown TITLE OPTIONS...: what the process of such a VM has kept when its guest runs, as lines of the table
lockdown()
{
	title=$1
	shift
	start_watched ./attempts "$@"
	{
		echo "-- $title"
		threads_of $pid
		namespaces_of $pid
		sed -n 's/^.*lockdown: //p' work/err
		for child in $(cat "/proc/$pid/task/$pid/children"); do
			[ "$(readlink "/proc/$child/exe")" = "$PWD/attempts" ] || continue
			threads_of "$child" "the process that connects"
			namespaces_of "$child"
			echo "$(find "/proc/$child/fd" -type l | wc -l) open"
		done
	} >>table
	end_watched
}

# What each kind of VM keeps is held against a reviewed table.
sandbox_lockdown()
{
	only_in_the_emulated_host
	make_disk a 1
	make_disk b 1
	make_tap tap0
	make_tap tap1
	export ATTEMPT=none program=attempts
	lockdown 'a card by vhost-net, two CPUs' --net tap0 --cpus 2
	lockdown 'one of everything' --net tap0 --net tap1,vhost=off --disk work/a --pmem work/b,ro --vsock 33,uds=work/v --balloon 8M \
		--watchdog --guest-status
	sed 's/^/table: /' table
	grep -v "kernel's own" table | sed 's/ABI [0-9]*/ABI N/' >reviewed
	diff -u lockdown reviewed || fail 'it is not the reviewed table (- reviewed, + this)'
}

# A stranger's descriptor, to see it closed
sandbox_root()
{
	only_in_the_emulated_host
	mkdir work
	make_tap tap0
	exec 9</etc/passwd
	start_watched ./microvm --irq-check --net tap0 --cpus 2
	exec 9<&-
	[ ! -s work/err ] || fail "it said: $(cat work/err)"
	check_tasks
	check_namespaces
	check_fds
	uid=$(of $pid Uid | cut -f 1)
	[ "$uid" -ge 1879048192 ] || fail "it is user $uid"
	is $pid Uid "$uid	$uid	$uid	$uid"
	is $pid Gid "$uid	$uid	$uid	$uid"
	[ -z "$(of $pid Groups | tr -d ' ')" ] || fail "groups: $(of $pid Groups)"
	kill -USR1 $pid
	end_watched
	grep -q 'net0 rx0 -> eventfd' work/err || fail "no dump: $(cat work/err)"
	grep -q '"status":143' work/result || fail "the result is $(cat work/result)"
	check_processes
}

sandbox_chosen_user()
{
	only_in_the_emulated_host
	mkdir work
	start_watched ./microvm --uid 1234 --gid 4321
	is $pid Uid "1234	1234	1234	1234"
	is $pid Gid "4321	4321	4321	4321"
	check_tasks
	end_watched
	chmod 666 /dev/kvm
	( expect_error 125 'only root may become another user' $user ./microvm --kernel null.Image --uid 5 )
	status=$?
	chmod 600 /dev/kvm
	return $status
}

# Root of a user namespace that has no other user: it stays who it is, says so, and gives up the rest.
sandbox_small_root()
{
	only_in_the_emulated_host
	mkdir work
	chmod 666 /dev/kvm
	( timeout 60 $user unshare -r ./microvm --kernel null.Image 2>work/err || fail "status $?: $(cat work/err)"
	  grep -q 'sandbox: could not have: .*another user' work/err || fail "it said: $(cat work/err)"
	  [ "$(wc -l <work/err)" = 1 ] || fail "$(cat work/err)" )
	status=$?
	chmod 600 /dev/kvm
	return $status
}

# Not root: a tap of his own, and the right to use KVM; then one of everything else
sandbox_user()
{
	only_in_the_emulated_host
	make_disk a 1
	make_disk b 1
	chmod -R a+rwX work
	ip tuntap add tap0 mode tap vnet_hdr user 65533 || fail "no tap"
	ip link set tap0 up
	chmod 666 /dev/kvm /dev/net/tun /dev/vhost-net
	( start_watched $user ./microvm --net tap0 --irq-check
	  [ ! -s work/err ] || fail "it said: $(cat work/err)"
	  check_tasks
	  check_namespaces
	  check_fds
	  is $pid Uid "65533	65533	65533	65533"
	  end_watched
	  rm work/out work/err work/result
	  start_watched $user ./microvm --net tap0 --irq-check --disk work/a --pmem work/b,ro --vsock 33,uds=work/v --balloon 8M \
		--watchdog --guest-status
	  [ ! -s work/err ] || fail "it said: $(cat work/err)"
	  check_tasks
	  check_namespaces
	  end_watched )
	status=$?
	chmod 600 /dev/kvm /dev/net/tun /dev/vhost-net
	return $status
}

sandbox_off_says_so()
{
	mkdir work
	timeout 60 ./microvm --no-sandbox --kernel null.Image 2>work/err || fail "status $?"
	grep -q -- '--no-sandbox: this process keeps all its rights' work/err || fail "$(cat work/err)"
	for mode in log off; do
		timeout 60 ./microvm --seccomp $mode --kernel null.Image 2>work/err || fail "status $?"
		grep -q -- "--seccomp $mode: system calls are not denied" work/err || fail "$(cat work/err)"
	done
}

# Every thread makes each call that its filter denies, the ring is given each opcode that it must not take; by what the VM has there
# are more that it does.
sandbox_attempts()
{
	mkdir work
	head -c 65536 /dev/zero >work/a
	tries
	tries --disk work/a,discard
	tries --disk work/a --vsock 33,uds=work/v --balloon 8M
	tries --console socket=work/c
	command -v qemu-storage-daemon >/dev/null || return 0
	make_disk b 1
	storage work/b work/s
	tries --vhost-user blk,socket=work/s
	end_back_end
}

# sandbox_denied cpu|loop WHO_(WITH_THESE_FOR_SPACES): a call that is denied ends the VM; it is named, and the terminal is as it was
sandbox_denied()
{
	export ATTEMPT="$1"
	on_terminal ./attempts --kernel null.Image --result work/result
	left_as_it_was 121
	said="seccomp: $(echo "$2" | tr _ ' ') thread was denied system call 198 (socket)"
	grep -qF "$said" out || fail "it said: $(cat out)"
	grep -qF "\"status\":121,\"error\":\"$said\"" work/result || fail "the result is $(cat work/result)"
}

tries()
{
	timeout 120 ./attempts --kernel null.Image --cpus 4 "$@" 2>work/err || fail "$*: status $?: $(cat work/err)"
	cat work/err
	[ "$(grep -Ec 'attempts: cpu [0-9]+: 1[0-9]{3} denied, 0 not' work/err)" = 4 ] || fail "$*: not all vCPUs' threads"
	grep -Eq 'attempts: loop [0-9]+: 1[0-9]{3} denied, 0 not' work/err || fail "$*: not the loop's thread"
	grep -Eq 'attempts: ring: 1[0-9][0-9] denied, 0 not' work/err || fail "$*: not the ring"
	! grep -q 'not denied\|took opcode' work/err || fail "$*: some were not denied"
}

# What a whole life of a guest does, with the filters in the mode that only logs: nothing is logged.
sandbox_nothing_denied()
{
	only_in_the_emulated_host
	mkdir work
	make_tap tap0
	before=$(dmesg | grep -c 'type=1326')
	start_watched ./microvm --net tap0 --cpus 2 --seccomp log --irq-check
	kill -USR1 $pid
	kill -WINCH $pid
	kill -TSTP $pid
	usleep 300000
	kill -CONT $pid
	usleep 300000
	end_watched
	after=$(dmesg | grep -c 'type=1326')
	[ "$before" = "$after" ] || fail "logged: $(dmesg | grep 'type=1326' | tail -n 3)"
}

sandbox_cgroup()
{
	only_in_the_emulated_host
	[ -e /sys/fs/cgroup/cgroup.procs ] || skip "no cgroup v2 here"
	mkdir work
	mkdir /sys/fs/cgroup/vm1
	echo '-pids -memory' >/sys/fs/cgroup/cgroup.subtree_control
	./microvm --kernel null.Image --cgroup /sys/fs/cgroup/vm1 2>err || fail "status $?"
	grep -q "could not have: --cgroup's pids.max (No such file or directory), --cgroup's memory.max (No such file or directory)\$" err || fail "a group without limits: $(cat err)"
	echo '+pids +memory' >/sys/fs/cgroup/cgroup.subtree_control
	( start_watched ./microvm --cgroup /sys/fs/cgroup/vm1
	  grep -q "^$pid\$" /sys/fs/cgroup/vm1/cgroup.procs || fail "not in the group: $(cat /sys/fs/cgroup/vm1/cgroup.procs)"
	  # a CPU, two workers for the console's file, and eight
	  [ "$(cat /sys/fs/cgroup/vm1/pids.max)" = 11 ] || fail "pids.max is $(cat /sys/fs/cgroup/vm1/pids.max)"
	  # 256 MiB of the guest's, a 64th of that for what maps it, and 64 MiB
	  [ "$(cat /sys/fs/cgroup/vm1/memory.max)" = $(((256 + 4 + 64) * 1048576)) ] || fail "memory.max is $(cat /sys/fs/cgroup/vm1/memory.max)"
	  end_watched
	  expect_error 125 "vm1': pids.max is 11, and this VM needs 19" ./microvm --kernel null.Image --cpus 9 --cgroup /sys/fs/cgroup/vm1
	  expect_error 125 "cgroup.*no/such.*folder of a cgroup" ./microvm --kernel null.Image --cgroup /sys/fs/cgroup/no/such )
	status=$?
	rmdir /sys/fs/cgroup/vm1
	return $status
}
