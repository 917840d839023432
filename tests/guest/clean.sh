#!/bin/sh
# clean.sh: nothing alarming in the kernel's log
. /t/tap.sh

test_clean
done_testing
