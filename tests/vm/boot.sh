# shellcheck shell=sh
# Starting and ending.

boot_null()
{
	$M --kernel null.Image || fail "status $?"
}

# A load that KVM cannot decode gets the guest an external abort, and the guest goes on.
boot_nisv()
{
	$M --kernel nisv.Image >out || fail "status $?"
	grep -q 'external abort' out || fail "said: $(cat out)"
}

# What of this host's CPUs a guest's must have, too
features()
{
	for f in sve paca pacg; do
		! grep -qw "$f" /proc/cpuinfo || printf ',%s' "$f"
	done
	[ ! -e /sys/bus/event_source/devices/armv8_pmuv3 ] || printf ',pmu'
	[ ! -e /host/argv ] || printf ',steal'
}

# boot_smp N
boot_smp()
{
	$BOOT --expect 'guest: smp status 0' --until-exit --verbose -- --kernel Image --initrd initrd.test \
		--cpus "$1" --cmdline "quiet t=smp,$1$(features)" || exit 1
}

boot_gz()
{
	gzip -1 -c Image >Image.gz
	$BOOT --expect 'init: up' --until-exit -- --kernel Image.gz --initrd initrd.tiny --cmdline quiet
	status=$?
	rm -f Image.gz
	return $status
}

le32()
{
	for shift in 0 8 16 24; do
		# shellcheck disable=SC2059 # an octal escape
		printf "\\$(printf %03o $(($1 >> shift & 255)))"
	done
}

# zboot WORD PACKED: an EFI zboot kernel around the file PACKED
zboot()
{
	{
		printf 'MZ\0\0zimg'
		le32 4096
		le32 "$(stat -c %s "$2")"
		head -c 8 /dev/zero
		printf '%s' "$1"
		head -c $((4096 - 24 - ${#1})) /dev/zero
		cat "$2"
	} >work/vmlinuz
}

# boot_zboot WORD: gzip, or zstd22; and each piece of it is refused
boot_zboot()
{
	mkdir -p work
	case $1 in
	gzip) gzip -1 -c Image >work/packed ;;
	*) cp Image.zst work/packed ;;
	esac
	zboot "$1" work/packed
	$BOOT --expect 'init: up' --until-exit -- --kernel work/vmlinuz --initrd initrd.tiny --cmdline quiet || fail "status $?"
	size=$(stat -c %s work/vmlinuz)
	for cut in 64 $((size / 2)) $((size - 1)); do
		head -c $cut work/vmlinuz >work/cut
		expect_error 125 "work/cut' is truncated: $cut bytes of $size" $M --kernel work/cut
	done
	head -c $((size / 2)) /dev/urandom | dd of=work/vmlinuz bs=4096 seek=3 conv=notrunc 2>/dev/null
	expect_error 125 "work/vmlinuz' is (corrupt: its ${1%22} data|truncated)" $M --kernel work/vmlinuz
	zboot lz4 work/packed
	expect_error 125 "an EFI zboot kernel with lz4, which is not supported; unpack it first" $M --kernel work/vmlinuz
}

# boot_stock_packed gz|zboot: Debian's kernel with all that it loads, as Alpine packs its own, and as Fedora does
boot_stock_packed()
{
	mkdir -p work
	gzip -1 -c Image.stock >work/packed
	case $1 in
	gz) mv work/packed work/vmlinuz ;;
	zboot) zboot gzip work/packed ;;
	esac
	$BOOT --timeout 300s --expect 'guest: clean status 0' --until-exit -- --kernel work/vmlinuz --initrd initrd.stock --cmdline 'quiet t=clean'
}

boot_zst()
{
	$BOOT --expect 'init: up' --until-exit -- --kernel Image.zst --initrd initrd.tiny --cmdline quiet
}

# Two archives, the first of a length that is no multiple of 4: its files and theirs are there.
boot_initrds()
{
	mkdir -p work/more/t
	printf 'echo "said: more"\n' >work/more/t/more.sh
	{ (cd work/more && find . | cpio -o -H newc 2>/dev/null); printf '\0'; } >work/first
	timeout 100 $M --kernel Image --initrd work/first --initrd initrd.test --cmdline 'quiet t=more' >out 2>err ||
		fail "status $?: $(cat err)"
	grep -q 'guest: more status 0' out && grep -q 'said: more' out || fail "not both were unpacked: $(tail -n 5 out)"
}

# one_stream FILE: what Debian's kernel printed on its two consoles, with initrd.stock and t=clean
one_stream()
{
	grep -q 'Booting Linux on physical CPU' "$1" || fail "no early lines: $(head -n 3 "$1")"
	twice=$(tr -d '\r' <"$1" | grep -E '^\[ +[0-9]+\.[0-9]+\] .{20}' | sort | uniq -d)
	[ -z "$twice" ] || fail "shown twice: $twice"
	grep -q 'guest: clean status 0' "$1" || fail "the guest's own lines are missing: $(tail -n 5 "$1")"
}

# Debian's kernel speaks on the UART first and replays its log on hvc0: each line is shown once.
boot_stock_console()
{
	timeout 100 $M --kernel Image.stock --initrd initrd.stock --cmdline 't=clean' >out 2>err || fail "status $?: $(cat err)"
	one_stream out
}

# end_status CMDLINE STATUS
end_status()
{
	timeout 60 $M --kernel Image --initrd initrd.tiny --cmdline "quiet $1" >out
	got=$?
	[ $got = "$2" ] || fail "status $got, not $2: $(tail -n 3 out)"
}

# end_panic CMDLINE: told by pvpanic
end_panic()
{
	timeout 60 $M --kernel Image --initrd initrd.tiny --cmdline "quiet $1" --result result.json >out 2>err
	got=$?
	[ $got = 123 ] || fail "status $got: $(tail -n 3 out)"
	[ "$(result panic result.json)" = pvpanic ] || fail "$(cat result.json)"
	grep -q 'Kernel panic' result.json || fail "not among the console's last lines: $(cat result.json)"
}

# A kernel without pvpanic panics on the UART; then a line of hvc0's, which is no panic.
end_panic_text()
{
	timeout 100 $M --kernel Image.stock --initrd initrd.tiny --cmdline "console=ttyAMA0 quiet tiny=exit" \
		--panic-text '^.*Kernel panic - not (sync|there)' --result result.json >out 2>err
	got=$?
	[ $got = 123 ] || fail "status $got: $(tail -n 3 out)"
	result panic result.json | grep -q 'Kernel panic - not syncing: Attempted to kill init' || fail "$(cat result.json)"
	timeout 60 $M --kernel Image --initrd initrd.tiny --cmdline "quiet" --panic-text '^init: up$' --result result.json >out 2>err
	got=$?
	[ $got = 123 ] || fail "status $got: $(tail -n 3 out)"
	[ "$(result panic result.json)" = 'init: up' ] || fail "$(cat result.json)"
}

# A line, or the beginning of one, and a reset with the next instruction
end_last_words()
{
	for what in 122:nothing '123:^my last words$' '123:^and half a line$'; do
		timeout 60 $M --kernel last-words.Image --panic-text "${what#*:}" >out 2>err
		got=$?
		[ $got = "${what%%:*}" ] || fail "status $got with '${what#*:}': $(cat err)"
		grep -q 'my last words' out || fail "it is not shown: $(cat out)"
	done
}

# A guest that lives for five seconds, and then not, by its watchdog of two
end_watchdog()
{
	timeout 90 $M --kernel Image --initrd initrd.tiny --cmdline "quiet tiny=watchdog:5" --watchdog --result result.json >out 2>err &
	pid=$!
	wait_for out 'init: hangs'
	start=$(uptime_ms)
	wait $pid
	got=$? ms=$(($(uptime_ms) - start))
	echo "status $got after $ms ms: $(cat result.json)"
	[ $got = 122 ] || fail "status $got: $(tail -n 3 out)"
	[ "$(result reason result.json)" = watchdog ] || fail "$(cat result.json)"
	[ $ms -ge 1000 ] && [ $ms -lt 10000 ] || fail "took $ms ms"
}

# end_guest_status KERNEL TRANSPORT STATUS: the guest's own
end_guest_status()
{
	timeout 120 $M --kernel "$(kernel "$1")" --initrd "$(initrd "$1")" --cmdline "quiet t=exit,$3" --transport "$2" \
		--guest-status --result result.json >out 2>err
	got=$?
	[ $got = "$3" ] || fail "status $got: $(tail -n 9 out; cat err)"
	grep -q 'guest: exit status 0' out || fail "$(tail -n 9 out)"
	[ "$(result guest_status result.json)" = "$3" ] && [ "$(result reason result.json)" = poweroff ] || fail "$(cat result.json)"
	[ "$(result init result.json)" -ge "$(result first_instruction result.json)" ] || fail "no init: $(cat result.json)"
	grep -q 'status0: the guest wrote what is no status' err || fail "not logged: $(cat err)"
}

# status_rebind TRANSPORT N: the driver of the port goes and comes back
status_rebind()
{
	rebind_guest exit "0,rebind,$2" "$2" --guest-status --transport "$1"
	[ "$(wc -l <err)" -le 1 ] || fail "it said: $(cat err)"
}

end_timeout()
{
	start=$(uptime_ms)
	timeout 60 $M --kernel Image --initrd initrd.tiny --cmdline "quiet tiny=hang" --timeout 3s --result result.json >out
	got=$? ms=$(($(uptime_ms) - start))
	[ $got = 124 ] || fail "status $got"
	[ $ms -ge 2900 ] && [ $ms -lt 30000 ] || fail "took $ms ms"
	[ "$(result reason result.json)" = timeout ] || fail "$(cat result.json)"
}

# Where no more signals may wait, the vCPUs are called out of the guest all the same.
end_no_signals_to_spare()
{
	timeout -s KILL 60 prlimit --sigpending=0 ./microvm --irq-check --kernel null.Image --cpus 4 >out 2>err || fail "status $?: $(cat err)"
}

end_sigterm()
{
	$M --kernel Image --initrd initrd.tiny --cmdline "quiet tiny=hang" >out 2>err &
	pid=$!
	wait_for out 'init: up'
	end_guest
}

# end_button N STATUS REASON CMDLINE: the first of N SIGTERMs presses the power button
end_button()
{
	n=$1
	./microvm --irq-check --kernel Image --initrd initrd.tiny --cmdline "quiet $4" --grace 5s --result result.json >out 2>err &
	pid=$!
	wait_for out 'init: (button|up)'
	[ "$4" != tiny=button ] || wait_for out 'init: button'
	start=$(uptime_ms)
	while [ "$n" -gt 0 ]; do
		kill -TERM $pid
		usleep 300000
		n=$((n - 1))
	done
	wait $pid
	got=$? ms=$(($(uptime_ms) - start))
	echo "status $got after $ms ms: $(cat result.json)"
	[ $got = "$2" ] || fail "status $got: $(cat err)"
	[ "$(result reason result.json)" = "$3" ] || fail "reason"
	[ "$3" != grace ] || [ $ms -ge 4900 ] || fail "ended early"
	[ "$3" = grace ] || [ $ms -lt 4900 ] || fail "ended late"
	[ -n "$(result power_button result.json)" ] || fail "no word of the button"
}

# The button is pressed before the guest has a driver for it.
end_button_early()
{
	./microvm --irq-check --kernel Image --initrd initrd.tiny --cmdline "quiet tiny=button" --grace 60s --result result.json >out 2>err &
	pid=$!
	until [ "$(ls /proc/$pid/task | wc -l)" -ge 2 ]; do
		usleep 10000
	done
	kill -TERM $pid
	grep -q init: out && fail "too late: it is up already"
	wait $pid
	got=$?
	[ $got = 0 ] || fail "status $got: $(cat err)"
	[ "$(result reason result.json)" = poweroff ] || fail "reason"
}

# Debian's kernel for real machines has the button's driver as a module, which an initramfs loads.
end_button_module()
{
	./microvm --irq-check --kernel "$(kernel full)" --initrd "$(initrd full)" --cmdline 't=button cryptomgr.notests' --grace 300s --timeout 900s \
		--result result.json >out 2>err &
	pid=$!
	wait_for out 'guest: listening' 300
	kill -TERM $pid
	wait $pid
	got=$?
	[ $got = 0 ] && grep -q 'guest: button status 0' out || fail "status $got: $(tail -n 9 out; cat err)"
	[ "$(result reason result.json)" = poweroff ] && [ -n "$(result power_button result.json)" ] || fail "$(cat result.json)"
}

end_result()
{
	timeout 60 $M --kernel Image --initrd initrd.tiny --cmdline quiet --result result.json >out || fail "status $?"
	cat result.json
	[ "$(result reason result.json)" = poweroff ] || fail "reason"
	[ "$(result status result.json)" = 0 ] || fail "status"
	[ "$(wc -l <result.json)" = 1 ] || fail "not one line"
	sed 's/.*"phases_us":{\([^}]*\)}.*"console0":{"ready_us":\([0-9]*\).*/\1,\2/; s/"[a-z_]*"://g' result.json >phases
	# built, first instruction, first output, end; and the console's driver
	awk -F , '{ exit !($1 > 0 && $1 <= $2 && $2 <= $3 && $3 <= $4 && $2 <= $5 && $5 <= $4) }' phases || fail "the phases are $(cat phases)"
	rm -f phases
	grep -q 'init: up' result.json || fail "no console lines"
}

# The console's file may not grow: what does not fit is lost, the guest goes on, and its last words are in the result.
end_file_limit()
{
	# the result, which is longer, goes by a pipe: the limit is for it, too
	mkfifo fifo
	cat fifo >result.json &
	( ulimit -f 8; timeout 60 $M --kernel Image --initrd initrd.tiny --console file=out --result fd=3 3>fifo ) 2>err ||
		fail "status $?: $(cat err)"
	wait $!
	rm fifo
	cat result.json
	[ ! -s err ] || fail "it said: $(cat err)"
	[ "$(result reason result.json)" = poweroff ] || fail "reason"
	[ "$(stat -c %s out)" -le 8192 ] && [ -s out ] || fail "the file has $(stat -c %s out) bytes"
	! grep -q 'init: up' out || fail "all of the console fitted"
	grep -q 'init: up' result.json || fail "the last of the console is not in the result"
}

dtb_checks()
{
	command -v dtc >/dev/null || skip "dtc is not on this machine"
	for o in "--cpus 1" "--cpus 8 --net tap0" "--cpus 2 --irqchip gicv3" "--cpus 64 --transport mmio --net tap0 --watchdog"; do
		[ -e /sys/class/net/tap0 ] || make_tap tap0
		rm -f a.dtb
		# shellcheck disable=SC2086 # several words
		$M --kernel Image --dry-run --dump-dtb a.dtb $o || fail "status $? with $o"
		dtc -I dtb -O dts -o /dev/null a.dtb 2>warnings || fail "dtc refuses the tree with $o"
		[ ! -s warnings ] || fail "dtc with $o: $(cat warnings)"
	done
}

dry_run()
{
	timeout 20 $M --kernel Image --dry-run >out 2>err || fail "status $?: $(cat err)"
	[ ! -s out ] || fail "printed: $(cat out)"
}

# How often the event loop's thread has been put to sleep and woken
loop_wakeups()
{
	awk '/ctxt_switches/ { sum += $2 } END { print sum }' /proc/$pid/task/$pid/status
}

# A guest that sleeps: the event loop's thread runs only for what the guest asks, which is entropy about once a second.
idle_cpu()
{
	make_tap tap0
	$M --kernel Image --initrd initrd.tiny --net tap0 --cmdline "quiet tiny=sleep:60" >out 2>err &
	pid=$!
	wait_for out 'init: up'
	sleep 2
	before=$(loop_wakeups)
	all_before=$(awk '{print $14 + $15}' /proc/$pid/stat)
	sleep 2
	after=$(loop_wakeups)
	all_after=$(awk '{print $14 + $15}' /proc/$pid/stat)
	end_guest
	echo "figure: idle guest, 2 s: $((after - before)) wake-ups of the event loop, $(((all_after - all_before) * 10)) ms of CPU, the guest's included"
	[ $((after - before)) -le 6 ] || fail "the event loop woke up $((after - before)) times"
	# a thread that spins takes all 200 hundredths
	[ $((all_after - all_before)) -le 100 ] || fail "the process took $(((all_after - all_before) * 10)) ms"
}

# judges STATUS PATTERN SCRIPT BOOT-TEST-OPTIONS...: boot-test with a monitor that is a script
judges()
{
	want=$1 pattern=$2
	printf '#!/bin/sh\n%s\n' "$3" >work/monitor
	chmod +x work/monitor
	shift 3
	timeout 20 ./boot-test --microvm work/monitor "$@" -- --kernel Image >out 2>err
	got=$?
	[ $got = "$want" ] || fail "status $got, not $want: $(cat out err)"
	grep -Eq "$pattern" out || fail "no '$pattern' in: $(cat out)"
}

boot_test_judges()
{
	mkdir work
	judges 0 'p50 [0-9.]+ ms, p99' 'echo up' --repeat 3
	judges 0 'as expected' 'printf "login: "; exec sleep 9' --expect 'login: $'
	judges 1 'without: nothing' 'echo up' --expect nothing
	judges 1 '  \| before' 'echo before; echo "Kernel panic - not syncing"; exec sleep 9' --expect up
	judges 1 'status 122' 'exit 122'
	judges 1 'signal 9' 'kill -9 $$'
	judges 77 'no usable KVM' 'exit 126'
	judges 124 'the time ran out' 'trap "" TERM; while :; do sleep 1; done' --timeout 1s
	judges 1 'fail' 'echo "<&"; echo Oops' --junit work/x.xml --name 'a "b"' --repeat 2
	grep -q 'tests="2" failures="2" skipped="0"' work/x.xml && grep -q 'name="a &quot;b&quot; 2"' work/x.xml ||
		fail "$(cat work/x.xml)"
}

# A job that is cancelled leaves no VM behind.
boot_test_cancelled()
{
	./boot-test --verbose -- --kernel Image --initrd initrd.tiny --cmdline 'quiet tiny=hang' >out &
	pid=$!
	wait_for out 'init: up'
	vm=$(awk -v parent=$pid '$4 == parent { print $1 }' /proc/[0-9]*/stat 2>/dev/null)
	[ -n "$vm" ] || fail "no monitor is running"
	kill -TERM $pid
	wait $pid
	got=$?
	[ $got = 143 ] || fail "status $got"
	i=0
	while kill -0 "$vm" 2>/dev/null; do
		i=$((i + 1))
		[ $i -lt 40 ] || fail "the VM runs on"
		usleep 50000
	done
}

# rng_rebind TRANSPORT N: the driver of the entropy device goes amid a read, and comes back
rng_rebind()
{
	rebind_guest rng "$2" "$2" --transport "$1"
}
