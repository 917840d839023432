# shellcheck shell=sh
# Guests that mean harm: tests/guest/hostile, looked after by hostile.c.

# hostile PATTERN[,PATTERN...] TRANSPORT VHOST[,queues=2] [WORD...]: the words are added to the payload's command line
hostile()
{
	what=$1 transport=$2 by=$3 kernel=0
	shift 3
	case $by in on*) kernel=1 ;; esac
	case $by in *queues*) make_tap tap0 multi_queue ;; *) make_tap tap0 ;; esac
	timeout 3600 ./hostile $HOSTILE_OPTIONS --ram 64 --log log --words "case=$what host=$HOST_IP vhost=$kernel $*" -- \
		$M --kernel hostile.Image --cpus 3 --memory 64M --transport "$transport" --log log --log-level info \
		--net "tap0,vhost=$by" --cmdline @ >out 2>err
	status=$?
	cat out err
	[ $status = 0 ] || { tail -n 30 log; fail "status $status"; }
	echo "figure: hostile $what $transport vhost=$by: $(tail -n 1 out)"
}
