# what: a poll that was disarmed is heard of again
# file: vmm/core/loop.c
# fuzz: loop
/^static void dispatch_poll/,/^}/s/if (!s->want || !events)/if (!events)/
