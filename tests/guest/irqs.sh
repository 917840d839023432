#!/bin/sh
# irqs.sh: the virtio lines of /proc/interrupts; fails where eth0's queues never interrupted
. /t/tap.sh

test_irqs
done_testing
