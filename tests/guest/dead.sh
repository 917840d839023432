#!/bin/sh
# dead.sh: the first disk's back end ends while the disk is read; the second one goes on, and so does the guest.
. /t/tap.sh

check "the first disk can be read" dd if=/dev/vda of=/dev/null bs=1M count=4
while dd if=/dev/vda of=/dev/null bs=64k iflag=direct 2>/dev/null; do :; done &
echo "guest: reading"
read -r _
check "the second disk is read and written" sh -c 'dd if=/dev/vdb of=/tmp/data bs=64k count=16 iflag=direct && dd if=/tmp/data of=/dev/vdb bs=64k oflag=direct conv=fsync' 2>/dev/null
check "there is entropy" sh -c '[ "$(dd if=/dev/hwrng bs=64 count=1 2>/dev/null | wc -c)" -gt 0 ]'
done_testing
