#!/bin/sh
# smp.sh N FEATURE...: N CPUs are up; the last one goes off and comes back (PSCI CPU_OFF, CPU_ON). Each has what the host
# has: of /proc/cpuinfo's features, pmu: counters of events, steal: the host tells how long it let a CPU wait.
. /t/tap.sh

n=${1:?}
shift
has()
{
	case $1 in
	pmu) [ -e /sys/bus/event_source/devices/armv8_pmuv3 ] ;;
	steal) dmesg | grep -q 'arm-pv: using stolen time PV' ;;
	*) [ "$(grep '^Features' /proc/cpuinfo | grep -cw "$1")" = "$n" ] ;;
	esac
}
check "$n CPUs online" [ "$(grep -c ^processor /proc/cpuinfo)" = "$n" ]
if [ "$n" -gt 1 ]; then
	last=/sys/devices/system/cpu/cpu$((n - 1))/online
	echo 0 >"$last"
	check "CPU $((n - 1)) went off" [ "$(cat "$last")" = 0 ]
	echo 1 >"$last"
	check "CPU $((n - 1)) came back" [ "$(grep -c ^processor /proc/cpuinfo)" = "$n" ]
fi
for feature in "$@"; do
	check "the CPUs have $feature" has "$feature"
done
test_clean
done_testing
