#!/bin/sh
# button.sh: says that it listens, waits until the power button is pressed and let go of, and init powers off then. The
# device is the one whose driver and events are modules in Debian's kernels.
. /t/tap.sh

# The handler of the device with this name
event_of()
{
	awk -v name="N: Name=\"$1\"" '$0 == name { ours = 1 } ours && /^H: / { sub(/.*event/, "event"); print $1; exit }' /proc/bus/input/devices
}

# next_key: "CODE VALUE" of the next event of a key's from descriptor 3; a struct input_event has 24 bytes, the time's 16 first
next_key()
{
	while set -- $(dd bs=24 count=1 2>/dev/null <&3 | od -An -v -tu2 -j16); [ $# = 4 ]; do
		[ "$1" != 1 ] || { echo "$2 $3"; return; }
	done
}

event=$(event_of gpio-keys)
check "a button" [ -c "/dev/input/$event" ]
exec 3<"/dev/input/$event"
echo "guest: listening"
key=$(next_key)
# KEY_POWER
check "pressed: $key" [ "$key" = '116 1' ]
key=$(next_key)
check "let go of: $key" [ "$key" = '116 0' ]
done_testing
