# what: a second period that ended counts though the interrupt was cleared
# file: devices/watchdog/sp805.c
# fuzz: watchdog
/^	case WDOGINTCLR:/,/^		break;/s/		w->s.ris = 0;/		update_line_locked(w);/
