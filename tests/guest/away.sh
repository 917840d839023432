#!/bin/sh
# away.sh N [HOST]: eth0's link goes down and comes back N times; what pings all the time has answers again each time
. /t/tap.sh

n=${1:?}
host=$(peer "$2")

# answers: so many the pings have had
answers()
{
	grep -c 'bytes from' /tmp/pings
}

# up to a minute, until the command succeeds
wait_until()
{
	tries=0
	until "$@"; do
		tries=$((tries + 1))
		[ $tries -lt 600 ] || return 1
		sleep 0.1
	done
}

carrier()
{
	[ "$(cat /sys/class/net/eth0/carrier)" = "$1" ]
}

more_answers()
{
	[ "$(answers)" -gt "$before" ]
}

test_ping "$host" 5
ping -i 0.2 "$host" >/tmp/pings &
i=0
while [ $i -lt "$n" ]; do
	i=$((i + 1))
	before=$(answers)
	check "answers, $i" wait_until more_answers
	echo "away: $i"
	check "the link goes down, $i" wait_until carrier 0
	check "the link comes up, $i" wait_until carrier 1
	before=$(answers)
	check "answers again, $i" wait_until more_answers
done
killall ping
test_ping "$host" 20
test_irqs
test_clean
done_testing
