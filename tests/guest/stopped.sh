#!/bin/sh
# stopped.sh: the first disk's back end answers no more while its driver lets go, on the second CPU; the second disk is
# read by the first CPU meanwhile, whose interrupts come there.
. /t/tap.sh

device=$(basename "$(readlink /sys/block/vda/device)")
other=$(basename "$(readlink /sys/block/vdb/device)")
now()
{
	cut -d. -f1 /proc/uptime
}

taskset -p 1 $$ >/dev/null
# where each CPU has a queue of its own, the driver keeps these
for irq in $(awk -v device="$other" '$NF == device || index($NF, device "-") == 1 { print $1 + 0 }' /proc/interrupts); do
	echo 1 >"/proc/irq/$irq/smp_affinity" 2>/dev/null || true
done
check "the first disk can be read" dd if=/dev/vda of=/dev/null bs=1M count=4
echo "guest: ready"
read -r _
start=$(now)
( taskset 2 sh -c "echo $device >/sys/bus/virtio/drivers/virtio_blk/unbind"
  now >/tmp/end ) &
sleep 2
dd if=/dev/vdb of=/dev/null bs=64k count=16 iflag=direct
check "the second disk is read meanwhile" test $? = 0 -a ! -e /tmp/end
wait
took=$(($(cat /tmp/end) - start))
check "the driver was held up for its time ($took s)" [ $took -ge 12 ]
check "and no longer" [ $took -le 60 ]
done_testing
