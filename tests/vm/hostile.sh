# shellcheck shell=sh
# shellcheck disable=SC2086 # options of several words
# Guests that mean harm: tests/guest/hostile, looked after by hostile.c.

# hostile PATTERN[,PATTERN...]|all TRANSPORT VHOST[,queues=2] [WORD...]: the words are added to the payload's command line
hostile()
{
	hostile_words "$@"
	transport=$2 by=$3
	hostile_files "$by"
	timeout 3600 ./hostile $HOSTILE_OPTIONS --ram 64 --log log --disk work/a --disk work/b --words "$words" -- \
		$M --kernel hostile.Image --cpus 3 --memory 64M --transport "$transport" --log log --log-level info \
		--net "tap0,vhost=$by" --disk work/a,discard --disk work/b,ro $sockets --balloon 8M,stats=500ms --cmdline @ >out 2>err
	status=$?
	[ -z "$peer" ] || kill $peer
	cat out err
	[ $status = 0 ] || fail "status $status"
	echo "figure: hostile $1 $transport vhost=$by: $(tail -n 1 out)"
}

# hostile_files VHOST: two disks; sockets as packets are moved, and who gives back at port 7 what it is sent, $peer
hostile_files()
{
	rm -rf work
	mkdir work
	head -c 8388608 /dev/zero >work/a
	head -c 1048576 /dev/zero >work/b
	peer='' sockets="--vsock 33,uds=work/v,max-conns=64"
	case $1 in
	off*) ./vsock-peer listen-unix work/v_7 >work/peer & peer=$! ;;
	*)
		if [ -e /dev/vhost-vsock ]; then
			sockets='--vsock 33'
			./vsock-peer listen 7 >work/peer & peer=$!
		else
			sockets=
		fi
		;;
	esac
	[ -z "$peer" ] || wait_for work/peer listening
}

# hostile_words ARGS of hostile: $words, and a tap that does for them
hostile_words()
{
	words="host=$HOST_IP"
	[ "$1" = all ] || words="case=$1 $words"
	case $3 in on*) words="$words vhost=1" ;; esac
	case $3 in *queues*) make_tap tap0 multi_queue ;; *) make_tap tap0 ;; esac
	shift 3
	words="$words $*"
}

# hostile_qemu PATTERN TRANSPORT VHOST: the same under Debian's QEMU, of which only is asked that it lives and its devices heal; it has
# sockets by vhost alone
hostile_qemu()
{
	command -v qemu-system-aarch64 >/dev/null || skip "no QEMU here"
	hostile_words "$@"
	hostile_files "$3"
	# as many queues as ours has; over PCI, QEMU's has no MSI-X
	case $2 in
	mmio)
		kind=device props=
		balloon='-object iothread,id=t -device virtio-balloon-device,free-page-reporting=on,free-page-hint=on,iothread=t'
		;;
	*) kind=pci props=,disable-legacy=on balloon= ;;
	esac
	case $sockets in *uds=* | '') sockets= ;; *) sockets="-device vhost-vsock-$kind,guest-cid=33" ;; esac
	timeout 3600 ./hostile --peer $HOSTILE_OPTIONS --words "$words" -- \
		qemu-system-aarch64 -M virt,gic-version=3,accel=kvm -cpu host -smp 3 -m 64 -nodefaults -no-user-config -display none \
		-monitor none -no-reboot -serial stdio -kernel hostile.Image -append @ -global virtio-mmio.force-legacy=false \
		-device virtio-rng-$kind$props -device virtio-serial-$kind$props -chardev null,id=c -device virtconsole,chardev=c \
		-netdev "tap,id=n,ifname=tap0,script=no,downscript=no,vhost=$3" -device "virtio-net-$kind,netdev=n$props" \
		-drive if=none,id=a,file=work/a,format=raw,discard=unmap -device "virtio-blk-$kind,drive=a$props" \
		-drive if=none,id=b,file=work/b,format=raw,readonly=on -device "virtio-blk-$kind,drive=b$props" \
		$balloon $sockets >out 2>err
	[ -z "$peer" ] || kill $peer
	cat out err
	! tail -n 1 out | grep -q '^0 cases passed' || fail 'none of the cases ran to its end'
	echo "figure: hostile under QEMU, $1 $2 vhost=$3: $(tail -n 1 out)"
}

# hostile_mutants: each of the mutants that were handed in is noticed by the case that it names; without --irq-check
hostile_mutants()
{
	missed=
	for m in mutants/*.list; do
		read -r name case transport <"$m"
		M=./mutants/$name HOSTILE_OPTIONS=
		( hostile "$case" "$transport" off ) >verdict 2>&1
		if grep -q "^FAIL $case:" verdict; then
			echo "figure: mutant $name noticed: $(grep -m 1 '^FAIL' verdict | cut -c 1-120)"
		else
			missed="$missed $name"
			cat verdict
		fi
		end_leftovers
		ip link del tap0 2>/dev/null
		kill "$(tr -d '\0' </tmp/iperf3.pid)" 2>/dev/null
	done
	[ -z "$missed" ] || fail "not noticed:$missed"
}
