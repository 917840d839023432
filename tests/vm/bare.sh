# shellcheck shell=sh
# Guests without a kernel: tests/guest/bare.

# bare CASE IRQCHIP TRANSPORT CPUS [WORD...]
bare()
{
	what=$1 irqchip=$2 transport=$3 cpus=$4
	shift 4
	make_tap tap0
	# a payload gives up by itself; the longest storm takes some 20 minutes
	timeout 3600 $M --kernel bare.Image --cpus "$cpus" --irqchip "$irqchip" --transport "$transport" \
		--net tap0 --cmdline "case=$what host=$HOST_IP $*" >out 2>err
	status=$?
	cat out err
	[ $status = 0 ] || fail "status $status"
	grep -q '^bare: passed' out || fail "the guest did not pass"
	grep '^# figure: ' out | sed 's/^# //'
}
