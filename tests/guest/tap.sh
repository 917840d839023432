# shellcheck shell=sh
# What the guest's tests share: sourced as /t/tap.sh, does nothing when run.
#
#   ok TEXT, not_ok TEXT     one TAP line; the script's status is done_testing's
#   check TEXT COMMAND...    ok if COMMAND succeeds
#   done_testing             the closing line, and status 1 if anything was not ok

tap_count=0
tap_bad=0

ok()
{
	tap_count=$((tap_count + 1))
	echo "ok $tap_count - $*"
}

not_ok()
{
	tap_count=$((tap_count + 1))
	tap_bad=$((tap_bad + 1))
	echo "not ok $tap_count - $*"
}

check()
{
	tap_text=$1
	shift
	if "$@"; then
		ok "$tap_text"
	else
		not_ok "$tap_text"
	fi
}

done_testing()
{
	echo "1..$tap_count"
	[ "$tap_bad" = 0 ] && [ "$tap_count" -gt 0 ]
}

# The virtio device (virtioN) behind a network interface
virtio_of()
{
	basename "$(readlink "/sys/class/net/$1/device")"
}

# The first argument, or what the default route points at, or the peer that the address suggests (.1)
peer()
{
	if [ -n "$1" ]; then
		echo "$1"
	else
		ip route | awk '/^default via/ { print $3; found = 1; exit } /src/ { split($1, a, "."); net = a[1] "." a[2] "." a[3] ".1" }
			END { if (!found) print net }'
	fi
}

test_ping()
{
	host=$1 count=${2:-5}
	# -A sends the next request when the last was answered
	text=$(ping -A -c "$count" -w $((count + 20)) "$host" | grep 'packet loss')
	echo "ping $host: $text"
	case $text in
	"$count packets transmitted, $count packets received, 0% packet loss"*) ok "ping $host: no loss in $count" ;;
	*) not_ok "ping $host: no loss in $count" ;;
	esac
}

# interrupts DEVICE QUEUE: the sum of the counts; QUEUE is input or output; a device with one interrupt for all has neither
interrupts()
{
	awk -v device="$1" -v queue="$2" '
		NR == 1 { cpus = NF; next }
		$NF == device || index($NF, device "-" queue ".") == 1 { for (i = 2; i <= cpus + 1; i++) sum += $i }
		END { print sum + 0 }' /proc/interrupts
}

test_irqs()
{
	[ -e /sys/class/net/eth0 ] || { not_ok "eth0 is there"; return; }
	device=$(virtio_of eth0)
	grep virtio /proc/interrupts
	for queue in input output; do
		n=$(interrupts "$device" $queue)
		check "$device: $n interrupts of $queue queues" [ "$n" -gt 0 ]
	done
}

# one way: -R lets the host send; the receiver's figure counts
iperf_mbits()
{
	iperf3 -c "$host" -t "$seconds" -f m --connect-timeout 5000 "$@" 2>&1 |
		awk '/error/ { print > "/dev/stderr" } /Mbits\/sec.*receiver/ { for (i = 1; i < NF; i++) if ($(i + 1) == "Mbits/sec") print $i }'
}

test_iperf()
{
	host=$1 seconds=${2:-2}
	for way in tx rx; do
		if [ $way = tx ]; then
			mbits=$(iperf_mbits)
		else
			mbits=$(iperf_mbits -R)
		fi
		echo "iperf $way: ${mbits:-0} Mbit/s"
		check "iperf3 $way carried data" [ "$(echo "${mbits:-0}" | tr -d 0.)" ]
	done
}

# test_rebinds NAME N COMMAND...: the command unbinds a driver and binds it: once, and N times between two lines that the host waits for,
# who counts what the monitor has. Then it waits for a line.
test_rebinds()
{
	rebinds_of=$1 rebinds=$2 made=0
	shift 2
	"$@" || echo "# the first"
	echo "$rebinds_of: ready"
	sleep 2
	while [ $made -lt "$rebinds" ] && "$@"; do
		made=$((made + 1))
	done
	check "$made of $rebinds rebinds" [ $made = "$rebinds" ]
	echo "$rebinds_of: $made rebinds"
	read -r _
}

# What a healthy kernel does not say. Errors (level 3 and above) count too, but for the expected ones.
EXPECTED='unable to open rtc device|PCI: OF: (of_root|host bridge)'

test_clean()
{
	if ! dmesg -r >/tmp/dmesg || ! [ -s /tmp/dmesg ]; then
		not_ok "the guest's kernel log can be read"
		return
	fi
	bad=$( grep -E '^<[0-3]>|WARNING|BUG|nobody cared|Oops|Call trace|rcu: INFO|NETDEV WATCHDOG|hung task|soft lockup|NEEDS_RESET' /tmp/dmesg |
		grep -vE "$EXPECTED${1:+|$1}")
	[ -z "$bad" ] || echo "$bad"
	check "the guest's kernel log is clean" [ -z "$bad" ]
}
