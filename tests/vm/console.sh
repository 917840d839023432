# shellcheck shell=sh
# shellcheck disable=SC2086 # options of several words
# What a user of a terminal sees and is left with, the console's other ends, and what else is read and written.

# on_terminal COMMAND...: in the background on a terminal of its own, words without spaces. What it shows is the file
# out, what is written to descriptor 9 are its keys; in the folder work are its pid, its status, the terminal's name and
# the terminal's modes before and after.
on_terminal()
{
	command -v script >/dev/null || skip "script is not on this machine"
	mkdir work
	mkfifo work/keys
	# stty asks standard output for a window's size, and complains
	cat >work/session <<-END
		tty >work/tty
		stty rows 24 cols 80
		stty -a >work/before 2>/dev/null
		sh -c 'echo \$\$ >work/pid; exec $*'
		echo \$? >work/status
		stty -a >work/after 2>/dev/null
	END
	exec 9<>work/keys
	script -q -c 'sh work/session' /dev/null <work/keys >out 2>err &
	session=$!
	wait_for work/pid .
	pid=$(cat work/pid)
}

# terminal_is raw|cooked: now, or soon
terminal_is()
{
	minus=
	[ "$1" = cooked ] || minus=-
	i=0
	until stty -F "$(cat work/tty)" -a 2>/dev/null | grep -Eq -- "(^|[ ;])${minus}icanon"; do
		i=$((i + 1))
		[ $i -lt 200 ] || fail "the terminal is not $1: $(stty -F "$(cat work/tty)" -a)"
		usleep 50000
	done
}

# left_as_it_was STATUS: the program has ended with it, and the terminal's modes are what they were
left_as_it_was()
{
	wait "$session"
	exec 9>&-
	sed 's/^/shown: /' out
	[ "$(cat work/status)" = "$1" ] || fail "status $(cat work/status), not $1"
	grep -q icanon work/before || fail "no modes: $(cat work/before)"
	cmp -s work/before work/after || fail "the terminal's modes: $(diff work/before work/after)"
}

# Ctrl-A h lists the keys, Ctrl-A x ends the VM; what else is typed is the guest's.
term_keys()
{
	on_terminal $M --kernel Image --initrd initrd.test --cmdline quiet --cmdline t=shell
	wait_for out 'tests are in /t'
	terminal_is raw
	# to be seen in what the guest prints, not in the echo
	printf 'echo typed-$((6 * 7))\r' >&9
	wait_for out 'typed-42'
	stty -F "$(cat work/tty)" rows 43 cols 132
	kill -WINCH "$pid" # whoever owns the window sends it
	usleep 500000
	printf 'stty size\r' >&9
	wait_for out '^43 132'
	stty -F "$(cat work/tty)" rows 24 cols 80
	printf '\001h' >&9
	wait_for out 'Ctrl-A x .*end'
	printf '\001x' >&9
	left_as_it_was 130
}

# term_restored WAY STATUS: the terminal was raw, and is not any more, whichever way (or signal) the VM ended by
term_restored()
{
	case $1 in
	poweroff) on_terminal $M $tiny --cmdline tiny=sleep:4 ;;
	*) on_terminal $M $tiny --cmdline tiny=hang ;;
	esac
	# at once: one of them ends by itself
	terminal_is raw
	wait_for out 'init: up'
	[ "$1" = poweroff ] || kill "-$1" "$pid"
	left_as_it_was "$2"
}

# Ctrl-Z is the guest's; a SIGTSTP from elsewhere gives the terminal back until SIGCONT.
term_stopped()
{
	on_terminal $M $tiny --cmdline tiny=hang
	wait_for out 'init: up'
	terminal_is raw
	kill -TSTP "$pid"
	terminal_is cooked
	wait_for "/proc/$pid/status" 'State:.*stopped'
	kill -CONT "$pid"
	terminal_is raw
	printf '\001x' >&9
	left_as_it_was 130
}

# A start that fails before anything was opened, and one that fails as late as can be, with the terminal raw already
term_start_fails()
{
	on_terminal $M --kernel nothere
	left_as_it_was 125
	grep -q "^microvm: .*nothere" out || fail "not said: $(cat out)"
}

term_start_fails_late()
{
	only_in_the_emulated_host
	chmod 666 /dev/kvm
	( on_terminal $no_threads $M $tiny --cpus 2
	  left_as_it_was 125
	  # a line of its own: the terminal was not raw any more
	  grep -Eq "^microvm: .*threads.*$(printf '\r')\$" out || fail "not said: $(cat out)" )
	status=$?
	chmod 600 /dev/kvm
	return $status
}

# Each line of a dump begins where lines begin, though the terminal is raw before and after.
term_dump()
{
	on_terminal $M $tiny --cmdline tiny=hang
	wait_for out 'init: up'
	terminal_is raw
	kill -USR1 "$pid"
	wait_for out 'cpus 1, KVM_RUN exits'
	terminal_is raw
	printf '\001x' >&9
	left_as_it_was 130
	cr=$(printf '\r')
	lines=$(sed -n '/microvm: /,/KVM_RUN exits/p' out)
	echo "$lines" | grep -q '^microvm: uart -> ' || fail "no dump"
	[ "$(echo "$lines" | wc -l)" -ge 8 ] || fail "few lines"
	bad=$(echo "$lines" | grep -Ev "^microvm: [ -~]*$cr\$")
	[ -z "$bad" ] || fail "not readable: $bad"
}

# --console file=PATH: what boot_stock_console sees on standard output, in place of what the file held
console_file()
{
	mkdir work
	yes 'what was there' | head -n 20000 >work/console
	timeout 100 $M --kernel Image.stock --initrd initrd.stock --cmdline 't=clean' --console file=work/console >out 2>err ||
		fail "status $?: $(cat err)"
	[ ! -s out ] || fail "standard output: $(head -c 200 out)"
	[ ! -s err ] || fail "standard error: $(head -c 200 err)"
	one_stream work/console
	! grep -q 'what was there' work/console || fail "the file was not cut"
}

# --console pty: who opens what is named at the start sees and types; another may come later
console_pty()
{
	mkdir work
	$M --kernel Image --initrd initrd.test --cmdline "quiet t=shell" --console pty --timeout 200 >out 2>err </dev/null &
	pid=$!
	( wait_for err 'console: /dev/pts/'
	  name=$(sed -n 's/^microvm: console: //p' err)
	  for visitor in 1 2; do
		( exec 7<>"$name"
		  cat <&7 >work/seen.$visitor &
		  reader=$!
		  # it may not be seen at once, nor the shell be there
		  i=0
		  until grep -q 'typed-42' work/seen.$visitor; do
			i=$((i + 1))
			[ $i -lt 100 ] || fail "nothing comes back: $(cat work/seen.$visitor)"
			printf 'echo typed-$((6 * 7))\r' >&7
			sleep 1
		  done
		  kill $reader ) || exit 1
		sleep 1
	  done )
	status=$?
	end_guest
	[ $status = 0 ] && [ ! -s out ] && [ "$(wc -l <err)" = 1 ] || fail "said: $(cat out err)"
}

# Nobody opens it: the guest comes up and goes, and what it printed last is told
console_pty_nobody()
{
	mkdir work
	timeout 100 $M --kernel Image.stock --initrd initrd.stock --cmdline 't=clean' --console pty --result result.json >out 2>err </dev/null ||
		fail "status $?: $(cat err)"
	[ ! -s out ] && [ "$(wc -l <err)" = 1 ] || fail "said: $(cat out err)"
	grep -q 'Power down' result.json || fail "the last of the console: $(cat result.json)"
}

# socket_guest [COMMAND...]: a shell whose console is the socket work/c; $pid
socket_guest()
{
	mkdir -p work
	[ $# != 0 ] || set -- $M
	"$@" --kernel Image --initrd initrd.test --cmdline "quiet t=shell" --console socket=work/c --timeout 400 >out 2>err </dev/null &
	pid=$!
	i=0
	until [ -S work/c ]; do
		i=$((i + 1))
		[ $i -lt 200 ] || fail "no socket: $(cat err)"
		usleep 50000
	done
}

# client N [SOCAT-OPTION]: what descriptor 7 is written is typed, what is seen is in work/seen.N; $client
client()
{
	mkfifo work/keys.$1
	socat ${2:--t 1} - UNIX:work/c <work/keys.$1 >work/seen.$1 &
	client=$!
	exec 7>work/keys.$1
}

client_goes()
{
	exec 7>&-
	kill $client
	wait $client
	return 0 # whatever it ended with
}

# Who connects reads what the guest said before, and types; others follow. One that does not read stops the guest's console and
# nothing of ours. A second VM does not get the name.
console_socket()
{
	socket_guest
	( client 1
	  wait_for work/seen.1 'tests are in /t'
	  check_broker $broker_rights
	  printf 'echo typed-$((6 * 7))\r' >&7
	  wait_for work/seen.1 'typed-42'
	  expect_error 125 "console: socket='work/c': another program listens on it" $M --kernel null.Image --console socket=work/c
	  printf 'sleep 3; echo kept-$((6 * 7))\r' >&7
	  wait_for work/seen.1 'sleep 3'
	  client_goes
	  sleep 5
	  client 2
	  wait_for work/seen.2 'kept-42'
	  ! grep -q 'typed-42' work/seen.2 || fail 'said twice'
	  client_goes
	  memory=$(own_kib $pid)
	  client 3 -u
	  # of newlines each would be two writes of the guest's
	  printf 'head -c 150000 /dev/zero | tr "\\0" y; echo; echo all-$((6 * 7))\r' >&7
	  said=0
	  while was=$said; sleep 2; dump $pid err; said=$(sed -n 's/.*console0 -> .* \([0-9,]*\) signals.*/\1/p' err | tail -n 1); [ "$said" != "$was" ]; do
		:
	  done
	  [ $(($(own_kib $pid) - memory)) -le 256 ] || fail "memory: $memory KiB, then $(own_kib $pid)"
	  client_goes
	  client 4
	  wait_for work/seen.4 'all-42'
	  grep -q '^yyyy' work/seen.4 || fail "it was not stopped: $(head -c 200 work/seen.4)"
	  client_goes )
	status=$?
	end_guest
	[ $status = 0 ] && [ ! -s out ] || fail "said: $(cat out)"
	name_goes work/c
}

# Nobody connects: the guest comes up and goes, and what it printed last is told. A name that was left over is no hindrance.
console_socket_nobody()
{
	mkdir work
	vsock_stale work/c
	timeout 100 $M --kernel Image.stock --initrd initrd.stock --cmdline 't=clean' --console socket=work/c --result result.json >out 2>err </dev/null ||
		fail "status $?: $(cat err)"
	[ ! -s out ] && [ ! -s err ] || fail "said: $(cat out err)"
	grep -q 'Power down' result.json || fail "the last of the console: $(cat result.json)"
	name_goes work/c
}

# The last words reach who is there, though the VM ends right behind them; and a VM that is killed leaves no name
console_socket_end()
{
	socket_guest
	( client 1
	  wait_for work/seen.1 'tests are in /t'
	  printf 'exit\r' >&7
	  wait $client || fail "the client: $?"
	  grep -q 'exit' work/seen.1 )
	status=$?
	wait $pid
	got=$?
	cat work/seen.1 err
	[ $status = 0 ] && [ $got = 0 ] || fail "status $got"
	name_goes work/c
	rm -r work
	socket_guest
	kill -9 $pid
	wait $pid
	name_goes work/c
}

# All of it without root
console_socket_as_user()
{
	only_in_the_emulated_host
	mkdir -p work/ours
	chmod 755 work/ours
	chmod 777 work
	chmod 666 /dev/kvm
	( expect_error 125 "console: socket='work/ours/c': Permission denied" $SOMEBODY ./microvm --kernel null.Image --console socket=work/ours/c
	  socket_guest $SOMEBODY ./microvm --irq-check --grace 0
	  ( check_broker 0000000000000000
	    client 1
	    wait_for work/seen.1 'tests are in /t'
	    client_goes )
	  status=$?
	  end_guest
	  [ $status = 0 ] && [ ! -s err ] || fail "said: $(cat err)"
	  name_goes work/c )
	status=$?
	chmod 600 /dev/kvm
	return $status
}

console_socket_bad()
{
	mkdir -p work/c
	expect_error 125 "console: socket='work/c': there is a folder, which is left as it is" $M --kernel null.Image --console socket=work/c
	rmdir work/c
	echo kept >work/c
	expect_error 125 'there is a file, which is left as it is' $M --kernel null.Image --console socket=work/c
	[ "$(cat work/c)" = kept ] || fail 'a file was touched'
	rm work/c
	expect_error 125 'the folder: No such file' $M --kernel null.Image --console socket=work/none/c
	expect_error 125 'more than 107 bytes' $M --kernel null.Image --console "socket=$(printf 'work/%0103d' 0)"
	for options in --dry-run --no-sandbox '--seccomp log'; do
		$M --kernel null.Image --console "socket=$(printf 'work/%0102d' 0)" $options 2>err || fail "$options: $(cat err)"
		name_goes "$(printf 'work/%0102d' 0)"
	done
	# a start that fails later on
	expect_error 125 'nothere' $M --kernel null.Image --console socket=work/c --dump-dtb work/nothere/dtb
	name_goes work/c
}

# --console none: the guest speaks to nobody, and nothing is read
console_none()
{
	mkdir work
	echo 'not read' >work/input
	exec 8<work/input
	timeout 60 $M $tiny --console none --result result.json >out 2>err <&8 || fail "status $?: $(cat err)"
	read -r line <&8
	[ "$line" = 'not read' ] || fail "standard input was read"
	[ ! -s out ] || fail "standard output: $(head -c 200 out)"
	[ ! -s err ] || fail "standard error: $(head -c 200 err)"
	[ "$(result reason result.json)" = poweroff ] || fail "$(cat result.json)"
}

# --config: the tree is the same as with options (but for the seeds), and once more is a repeat
config_same()
{
	make_tap tap0
	mkdir work
	cat >work/config.json <<-'END'
		{
			"kernel": "Image", "cmdline": ["quiet", "tiny=reboot"], "cpus": 3, "memory": "320M",
			"net": [{"tap": "tap0", "transport": "mmio", "vhost": false}], "irqchip": "gicv3",
			"dry-run": true, "dump-dtb": "work/config.dtb"
		}
	END
	$M --config work/config.json >out 2>err || fail "status $?: $(cat err)"
	$M --kernel Image --cmdline quiet --cmdline tiny=reboot --cpus 3 --memory 320M --irqchip gicv3 \
		--net tap0,transport=mmio,vhost=off --dry-run --dump-dtb work/options.dtb >out 2>err || fail "status $?: $(cat err)"
	command -v dtc >/dev/null || skip "dtc is not on this machine"
	for i in config options; do
		dtc -I dtb -O dts "work/$i.dtb" 2>/dev/null | grep -Ev 'kaslr-seed|rng-seed' >work/$i.dts
	done
	cmp work/config.dts work/options.dts || fail "$(diff work/config.dts work/options.dts)"
	grep -q 'tiny=reboot' work/config.dts || fail "no command line in it"
	expect_error 125 'cpus: given twice' $M --config work/config.json --cpus 3
	echo '{"kernel": "Image", "initrd": "initrd.tiny", "cmdline": "quiet tiny=reboot"}' >work/config.json
	timeout 60 $M --config work/config.json >out 2>err
	status=$?
	[ $status = 122 ] || fail "status $status: $(cat err)"
	expect_error 125 'kernel' $M --config work/config.json --kernel Image
}

# Each line of the log is a JSON object of its own, whatever it quotes.
log_json()
{
	start_guest log 'tiny=hang' --initrd initrd.tiny --log-format json
	wait_for out 'init: up'
	dump $pid log
	end_guest
	$M --kernel 'no"such\file' --log more --log-format json 2>err >&2
	[ $? = 125 ] || fail "status: $(cat err)"
	cat more >>log
	rm more
	cat log
	[ "$(wc -l <log)" -ge 9 ] || fail "few lines"
	bad=$(grep -Ev '^\{"time":[0-9]+\.[0-9]{6},"level":"(error|warn|info|debug)","message":"([^"\\]|\\["\\])*"\}$' log)
	[ -z "$bad" ] || fail "not of the form: $bad"
	grep -q '"message":".*no\\"such\\\\file' log || fail "the name is not quoted"
	# our own reader of configurations takes any JSON object, and then misses its keys
	mkdir work
	while read -r line; do
		printf '%s\n' "$line" >work/line
		( expect_error 125 "unknown key '(time|level|message)'" $M --config work/line ) >/dev/null || fail "no JSON: $line"
	done <log
}

# console_rebind TRANSPORT N: its driver goes and comes back, and shows a line each time
console_rebind()
{
	$M --kernel Image --initrd initrd.test --cmdline "quiet t=console,$2" --timeout $((200 + 10 * $2)) --transport "$1" >out 2>err &
	pid=$!
	rebinds console "$2"
	end_guest
	grep -q 'guest: console status 0' out || fail "$(cat out)"
	lines=$(tr -d '\r' <out | grep -c '^after [1-9]')
	[ "$lines" = "$2" ] || fail "$lines lines of $2"
}
