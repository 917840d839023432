#!/bin/sh
# user.sh FAR [PORT]: a card by --net user. An address and a name server by DHCP; a name of the latter's, and iperf3 both ways
# with FAR, an address of the host's; with PORT: a server on it for the host, until that says on the console that it is
# through. user.sh link: says what becomes of eth0's link, until the console says that it is enough.
# user.sh rebind N: its driver is unbound amid packets and bound, N times, with an address by DHCP each time.
. /t/tap.sh

lease()
{
	cat >/tmp/lease <<-'END'
		#!/bin/sh
		[ "$1" = bound ] || exit 0
		ip addr add "$ip/$mask" dev "$interface"
		ip route add default via "${router%% *}" dev "$interface" onlink
		for server in $dns; do echo "nameserver $server"; done >/etc/resolv.conf
	END
	chmod +x /tmp/lease
	ip link set eth0 up
	udhcpc -i eth0 -n -q -f -t 10 -T 1 -s /tmp/lease >/tmp/dhcp 2>&1
}

rebind()
{
	(ping -A -c 1000 -W 1 10.9.9.1 & sleep 0.1; echo "$device" >$driver/unbind; kill $!) >/dev/null 2>&1
	echo "$device" >$driver/bind && lease
}

check 'an address by DHCP' lease
if [ "$1" = rebind ]; then
	driver=/sys/bus/virtio/drivers/virtio_net
	device=$(virtio_of eth0)
	test_rebinds user "$2" rebind
	test_clean
	done_testing
	exit
fi
if [ "$1" = link ]; then
	echo "guest: carrier $(cat /sys/class/net/eth0/carrier)"
	until [ "$(cat /sys/class/net/eth0/carrier)" = 0 ]; do sleep 0.1; done
	echo "guest: carrier 0"
	check 'nothing arrives' sh -c '! ping -c 1 -W 1 10.9.9.1 >/dev/null'
	read -r _
	test_clean
	done_testing
	exit
fi
ip -o addr show dev eth0 | sed 's/^/# /'
check 'a name server by DHCP' grep -q "nameserver $1" /etc/resolv.conf
check 'its answer' sh -c "nslookup far.example | grep -q 'Address.*$1'"
test_iperf "$1" 1
mkdir -p /tmp/www
head -c 300000 /dev/urandom >/tmp/www/data
md5sum </tmp/www/data >/tmp/www/sum
httpd -p "$2" -h /tmp/www
echo "guest: listening"
read -r _
test_irqs
test_clean
done_testing
