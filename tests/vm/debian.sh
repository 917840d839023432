# shellcheck shell=sh
# A Debian with systemd on a disk (tools/debian-root): to its login prompt, packages by apt, off by itself and by the button.

# debian_start KERNEL WORDS OPTIONS...: starts one on a copy of the image; $pid, its keys are descriptor 8
debian_start()
{
	guest_kernel=$1 words=$2
	shift 2
	mkdir -p work
	cp root.img work/root.img
	mkfifo work/in
	start=$(uptime_ms)
	./microvm --irq-check --kernel "$(kernel "$guest_kernel")" --cmdline "quiet $words" --memory 512M --disk work/root.img \
		--timeout 4500s --grace 1000s --result result.json "$@" <work/in >out 2>err &
	pid=$!
	exec 8>work/in
}

debian_types()
{
	printf '%s\r' "$*" >&8
}

# What a person would do at the prompt
debian_login()
{
	wait_for out 'debian login: ' 1500
	echo "figure: Debian to its login prompt: $((($(uptime_ms) - start) / 1000)) s"
	debian_types root
	wait_for out 'root@debian:.*# ' 500
}

# debian_installs ADDRESS: what is in repo, from a web server of ours; the line that is typed holds no number behind "status-"
debian_installs()
{
	busybox httpd -f -p "$1:8000" -h repo &
	# shellcheck disable=SC2064 # the pid of now
	trap "kill $!" EXIT
	debian_types "echo 'deb [trusted=yes] http://$1:8000/ ./' >/etc/apt/sources.list"
	debian_types '/lib/systemd/systemd-networkd-wait-online --timeout=300 && apt-get update && apt-get install -y greeting && greeting; echo status-$?'
	wait_for out 'status-[0-9]' 1500
	grep -q 'status-0' out && grep -q 'greeting: from a package' out || fail 'no package'
	echo "figure: and two packages later: $((($(uptime_ms) - start) / 1000)) s"
}

# unmounted IMAGE: of ext4's superblock, s_state says clean, and s_feature_incompat has no journal to be replayed
unmounted()
{
	[ "$(od -An -tu2 -j 1082 -N 2 "$1" | tr -d ' ')" = 1 ] &&
		[ $(($(od -An -tu4 -j 1120 -N 4 "$1" | tr -d ' ') & 4)) = 0 ]
}

# debian_ends inside|button: it powers off, with 0, and has unmounted its disk
debian_ends()
{
	! unmounted work/root.img || fail 'a disk in use looks like one that is not'
	end=$(uptime_ms)
	if [ "$1" = inside ]; then
		debian_types poweroff
	else
		kill -TERM $pid
	fi
	wait $pid
	got=$?
	echo "figure: Debian to its end ($1): $((($(uptime_ms) - end) / 1000)) s"
	exec 8>&-
	[ $got = 0 ] && [ ! -s err ] || fail "status $got: $(tail -n 9 out; cat err)"
	[ "$(result reason result.json)" = poweroff ] || fail "$(cat result.json)"
	[ "$1" = inside ] || [ -n "$(result power_button result.json)" ] || fail 'no word of the button'
	unmounted work/root.img || fail 'the file system was not unmounted'
}

# One lease for whoever asks on tap0
serve_dhcp()
{
	cat >work/udhcpd.conf <<-END
		start $GUEST_IP
		end $GUEST_IP
		interface tap0
		pidfile work/udhcpd.pid
		lease_file work/leases
		option subnet 255.255.255.0
	END
	: >work/leases
	busybox udhcpd -f work/udhcpd.conf 2>work/udhcpd.log &
	server=$!
}

# debian_apt user|tap0 inside|button; $server is what answers beside the web server: a name server, or one for leases
debian_apt()
{
	mkdir -p work
	if [ "$1" = user ]; then
		user_host
		# shellcheck disable=SC2154 # user_host sets it
		server=$dns address=$FAR_IP
	else
		make_tap "$1"
		serve_dhcp
		address=$HOST_IP
	fi
	debian_start small 'root=/dev/vda rw' --net "$1"
	( debian_login && debian_installs "$address" )
	status=$?
	kill "$server"
	[ $status = 0 ] || { kill -9 $pid; cat out err; exit 1; }
	debian_ends "$2"
}

# debian_boots KERNEL: one whose modules are in an initramfs
debian_boots()
{
	debian_start "$1" 't=root cryptomgr.notests' --initrd "$(initrd "$1")"
	( debian_login ) || { kill -9 $pid; cat out err; exit 1; }
	debian_ends button
}
