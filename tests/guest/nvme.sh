#!/bin/sh
# nvme.sh N: an NVMe drive: what was written is read again, then N single reads, each of which ends with an interrupt
. /t/tap.sh

n=${1:?}
disk=/dev/nvme0n1

# Of all queues, or of its line
nvme_interrupts()
{
	awk '/nvme0q/ { for (i = 2; i <= NF && $i ~ /^[0-9]+$/; i++) sum += $i } END { print sum + 0 }' /proc/interrupts
}

read_singly()
{
	dd if=$disk of=/dev/null bs=4096 count="$1" iflag=direct 2>/dev/null
}

# From the start again when the drive ends
many_reads()
{
	left=$n
	blocks=$(($(cat /sys/class/block/nvme0n1/size) / 8))
	while [ "$left" -gt 0 ]; do
		some=$((left < blocks ? left : blocks))
		read_singly $some || return
		left=$((left - some))
	done
}

i=0
until [ -b $disk ] || [ $i = 200 ]; do
	i=$((i + 1))
	sleep 0.1
done
check "$disk is there" [ -b $disk ]
grep nvme /proc/interrupts | sed 's/^/# /'
dd if=/dev/urandom of=/tmp/data bs=4096 count=500 2>/dev/null
dd if=/tmp/data of=$disk bs=65536 conv=fsync 2>/dev/null
echo 3 >/proc/sys/vm/drop_caches
check "what was written is there" sh -c "dd if=$disk bs=4096 count=500 2>/dev/null | cmp - /tmp/data"
before=$(nvme_interrupts)
start=$(cut -d' ' -f1 /proc/uptime)
check "$n reads" many_reads
end=$(cut -d' ' -f1 /proc/uptime)
got=$(($(nvme_interrupts) - before))
echo "# from $start to $end s"
echo "figure: $n single reads from an NVMe drive, $got interrupts ($(grep -c 'MSI.*nvme0q' /proc/interrupts) vectors of MSI-X)"
# with one CPU the next read begins when the interrupt for this one has been taken
check "an interrupt for each: $got" [ "$(nproc)" != 1 -o "$got" -ge "$n" ]
check "none had to be looked for" sh -c '! dmesg | grep -Eiq "nvme.*(timeout|polled|abort|reset)"'
test_clean
done_testing
