# what: the end of a back end is read again and again
# file: devices/vhost/user_run.c
# fuzz: vuser
/^void vu_received/,/^}/s/else if (res == -EINTR/else if (!res || res == -EINTR/
