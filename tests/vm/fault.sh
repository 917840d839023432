# shellcheck shell=sh
# shellcheck disable=SC2086 # options of several words
# One system call that fails, for each of a start's and of a guest's devices': fault.c.

# faults NAME ARGS of fault: its count is the figure
faults()
{
	what=$1
	shift
	./fault "$@" >out
	status=$?
	cat out
	echo "figure: faults, $what: $(tail -n 1 out)"
	[ $status = 0 ] || fail "status $status"
}

# fault_start [OPTION...]: with all that a start takes from outside; one of the outputs is new, so there is a keeper, and sockets have
# a process that connects for them
fault_start()
{
	mkdir work
	head -c 65536 /dev/zero >work/disk
	head -c 65536 /dev/zero >work/image
	ip tuntap add tap0 mode tap vnet_hdr multi_queue && ip link set tap0 up || fail "no tap"
	./tap-state tap0 10
	faults start start "$@" --tap tap0 --there work/result --there work/dtb --absent work/console -- \
		./microvm --kernel null.Image --initrd initrd.tiny --cpus 2 --net tap0,queues=2 --timeout 60s \
		--disk work/disk --vsock 33,uds=work/v --balloon 8M,stats=1s --pmem work/image,ro --watchdog --guest-status \
		--result work/result --dump-dtb work/dtb --console file=work/console
}

# With a disk that another process serves. Who is traced is no passt's parent: that ends by the tracer's signals.
fault_start_peers()
{
	make_disk a 1
	storage work/a work/s
	( faults 'start with other processes' start "$@" -- ./microvm --kernel null.Image --vhost-user blk,socket=work/s )
	status=$?
	end_back_end
	return $status
}

# The same on a terminal, in a cgroup, without vhost
fault_start_terminal()
{
	only_in_the_emulated_host
	mkdir work
	[ -e /sys/fs/cgroup/cgroup.procs ] || skip "no cgroup v2 here"
	mkdir /sys/fs/cgroup/vm1
	echo '+pids +memory' >/sys/fs/cgroup/cgroup.subtree_control
	ip tuntap add tap0 mode tap vnet_hdr && ip link set tap0 up || fail "no tap"
	( faults 'start on a terminal' start "$@" --tap tap0 --terminal --cgroup /sys/fs/cgroup/vm1 -- \
		./microvm --kernel null.Image --cgroup /sys/fs/cgroup/vm1 --net tap0,vhost=off,transport=mmio )
	status=$?
	rmdir /sys/fs/cgroup/vm1
	return $status
}

# fault_run TRANSPORT VHOST [OPTION...]: from the guest's first instruction to its power-off
fault_run()
{
	transport=$1 by=$2
	shift 2
	make_tap tap0
	mkdir work
	head -c 65536 /dev/zero >work/disk
	sockets=33
	[ "$by" = on ] && [ -e /dev/vhost-vsock ] || sockets=33,uds=work/v
	faults "a guest's devices, $transport vhost=$by" run "$@" --tap tap0 --there work/result --says work/result -- \
		./microvm --kernel bare.Image --transport $transport --net tap0,vhost=$by --disk work/disk --vsock $sockets --balloon 8M --cmdline "case=start host=$HOST_IP" \
		--console none --result work/result
}
