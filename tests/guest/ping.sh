#!/bin/sh
# ping.sh [HOST [COUNT]]: ping without loss
. /t/tap.sh

test_ping "$(peer "$1")" "${2:-5}"
done_testing
