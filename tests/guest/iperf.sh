#!/bin/sh
# iperf.sh [HOST [SECONDS]]: iperf3 to a server on HOST, each way
. /t/tap.sh

test_iperf "$(peer "$1")" "${2:-2}"
done_testing
