# what: a card's link stays up where its back end has ended
# file: devices/vhost/user_link.c
# fuzz: vuser
/^void vu_drop/,/^}/s/vu_say_there(d, false);//
