# what: the receive interrupt goes a byte too late
# file: devices/serial/pl011.c
# fuzz: uart
/^static uint32_t read_dr_locked/,/^}/s/u->s.count < rx_trigger(u)/u->s.count + 1 < rx_trigger(u)/
