# what: --panic-text joins the lines of two kernels
# file: vmm/app/panic_text.c
# fuzz: panic_text
/^static void hvc_closed/,/^}/s/	p->hvc.len = 0;//
