#!/bin/sh
# smp.sh N: N CPUs are up; the last one goes off and comes back (PSCI CPU_OFF, CPU_ON)
. /t/tap.sh

n=${1:?}
check "$n CPUs online" [ "$(grep -c ^processor /proc/cpuinfo)" = "$n" ]
if [ "$n" -gt 1 ]; then
	last=/sys/devices/system/cpu/cpu$((n - 1))/online
	echo 0 >"$last"
	check "CPU $((n - 1)) went off" [ "$(cat "$last")" = 0 ]
	echo 1 >"$last"
	check "CPU $((n - 1)) came back" [ "$(grep -c ^processor /proc/cpuinfo)" = "$n" ]
fi
test_clean
done_testing
