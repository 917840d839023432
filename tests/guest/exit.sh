#!/bin/sh
# exit.sh STATUS: what the monitor ends with. The last status counts, and what is none is nothing. Init is at work.
. /t/tap.sh

check "a status" guest-exit 7 true
check "another" guest-exit "$1" true
port=/dev/$(basename "$(dirname "$(grep -l microvm.status /sys/class/virtio-ports/*/name)")")
check "init" sh -c "echo init >$port"
check "no status" sh -c "printf '121\nx\n-1\n' >$port"
check "above 120 is refused" sh -c "! guest-exit 121 true 2>/dev/null"
done_testing
