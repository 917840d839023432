#!/bin/sh
# stopped.sh: the first disk's back end answers no more while its driver lets go; the second disk is read meanwhile.
. /t/tap.sh

device=$(basename "$(readlink /sys/block/vda/device)")
now()
{
	cut -d. -f1 /proc/uptime
}

check "the first disk can be read" dd if=/dev/vda of=/dev/null bs=1M count=4
echo "guest: ready"
read -r _
start=$(now)
( echo "$device" >/sys/bus/virtio/drivers/virtio_blk/unbind
  now >/tmp/end ) &
sleep 2
check "the second disk is read meanwhile" sh -c 'dd if=/dev/vdb of=/dev/null bs=64k count=16 iflag=direct && [ ! -e /tmp/end ]' 2>/dev/null
wait
took=$(($(cat /tmp/end) - start))
check "the driver was held up for its time ($took s)" [ $took -ge 12 ]
check "and no longer" [ $took -le 60 ]
done_testing
