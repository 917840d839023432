#!/bin/sh
# trouble.sh: the host's file of the first disk has no room for all of it, is cut off, and loses its name; the host goes on when it
# reads a line. trouble.sh slow: reads of the first disk take ten seconds each. trouble.sh fails: its fifth 64 KiB are bad. The second
# disk is well meanwhile.
. /t/tap.sh

first=/dev/vda
read_first() # FROM, in units of 64 KiB
{
	dd if=$first of=/dev/null bs=64k skip="$1" count=1 iflag=direct
}

fails()
{
	! "$@"
}

write_first() # FROM COUNT
{
	dd if=/dev/urandom of=$first bs=64k seek="$1" count="$2" oflag=direct
}

second_is_well()
{
	dd if=/dev/zero of=/dev/vdb bs=64k count=4 oflag=direct && dd if=/dev/vdb of=/dev/null bs=64k count=16 iflag=direct
}

now()
{
	cut -d. -f1 /proc/uptime
}

if [ "$1" = slow ]; then
	start=$(now)
	( read_first 0 && read_first 1
	  echo $? >/tmp/end ) &
	check "the second disk is well" second_is_well
	check "while the first takes its time" [ ! -e /tmp/end ]
	wait
	took=$(($(now) - start))
	check "which is long ($took s)" [ $took -ge 20 ]
	check "and then has its answer" [ "$(cat /tmp/end)" = 0 ]
elif [ "$1" = fails ]; then
	check "what is bad is not read" fails read_first 4
	check "nor written and flushed" fails dd if=/dev/urandom of=$first bs=64k seek=4 count=1 conv=fsync
	check "what is beside it is read" read_first 3
	check "and written" write_first 5 1
	check "the second disk is well" second_is_well
else
	check "what has room is written" write_first 0 8
	check "what has none is refused" fails write_first 16 128
	check "the second disk is well" second_is_well
	echo "guest: full"
	read -r _
	check "what was cut off is refused" fails read_first 4
	check "what is left is read" read_first 0
	check "the second disk is well" second_is_well
	echo "guest: cut"
	read -r _
	check "without a name, it is read" read_first 0
	check "and written" write_first 0 1
	check "the second disk is well" second_is_well
fi
check "no more than that is in the log" sh -c '! dmesg | grep -E "WARNING|BUG|Oops|nobody cared|hung"'
done_testing
