#!/bin/sh
# net.sh [HOST [SECONDS [COUNT]]]: the network from end to end: ping, iperf3 each way, interrupts, a clean log
# (SECONDS 0: without iperf3)
. /t/tap.sh

host=$(peer "$1")
test_ping "$host" "${3:-5}"
[ "$2" = 0 ] || test_iperf "$host" "${2:-2}"
test_irqs
test_clean
done_testing
