# what: an answer to another question is taken
# file: devices/vhost/user_msg.c
# fuzz: vuser
/^static int check_head/,/^}/s/got->request != m->request || //
