#!/bin/sh
# link.sh: what eth0 looks like, for tests of its options
. /t/tap.sh

ip link show eth0
done_testing
