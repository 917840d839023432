# what: an alarm that was passed by never comes
# file: devices/rtc/pl031.c
# fuzz: rtc
/^static uint64_t check_alarm_locked/,/^}/s/if (delta && !(passed && delta >> 31))/if (delta)/
