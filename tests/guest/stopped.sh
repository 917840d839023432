#!/bin/sh
# stopped.sh: the first disk's back end answers no more while its driver lets go, on the second CPU; the second disk is
# read by the first CPU meanwhile, whose interrupts come there. stopped.sh fs TAG, stopped.sh net HOST: a folder's does so, or a
# card's, and when there is another one it is used again.
. /t/tap.sh

rebind() # DRIVER DEVICE
{
	echo "$2" >"/sys/bus/virtio/drivers/$1/unbind" && echo "$2" >"/sys/bus/virtio/drivers/$1/bind"
}

reads_a_file() # TAG
{
	mkdir -p /tmp/mnt && mount -t virtiofs "$1" /tmp/mnt || return
	cat /tmp/mnt/file >/tmp/file
	umount /tmp/mnt && [ "$(cat /tmp/file)" = "of the host" ]
}

answered() # HOST
{
	tries=0
	until ping -c 1 -W 1 "$1"; do
		tries=$((tries + 1))
		[ $tries -lt 60 ] || return 1
	done
}

case $1 in
fs)
	device=$(basename /sys/bus/virtio/drivers/virtiofs/virtio*)
	check "a file is read" reads_a_file "$2"
	echo "guest: ready"
	read -r _
	check "the driver lets go and comes back" rebind virtiofs "$device"
	check "a file is read again" reads_a_file "$2"
	test_clean
	done_testing
	exit
	;;
net)
	device=$(virtio_of eth0)
	address=$(ip -4 addr show dev eth0 | awk '$1 == "inet" { print $2; exit }')
	test_ping "$2" 5
	echo "guest: ready"
	read -r _
	check "the driver lets go and comes back" rebind virtio_net "$device"
	ip addr add "$address" dev eth0
	ip link set eth0 up
	check "answers come again" answered "$2"
	test_ping "$2" 5
	test_clean
	done_testing
	exit
	;;
esac

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
