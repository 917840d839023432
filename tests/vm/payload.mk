# Builds the payload of tests/guest/bare, from lib/ and bare/ beside this file, by the gcc at hand: object by object, so that there
# is something to do for several at a time. The flags are the Makefile's BARE_CFLAGS, but for warnings.
SRCS   := $(wildcard lib/*.c bare/*.c) lib/start.S
OBJS   := $(addsuffix .o,$(SRCS))
CFLAGS := -std=gnu17 -Ilib -O2 -ffreestanding -fpie -fno-stack-protector -fno-asynchronous-unwind-tables -mgeneral-regs-only -mstrict-align \
	  -mno-outline-atomics

bare.Image: bare.elf
	objcopy -O binary $< $@
bare.elf: $(OBJS)
	gcc -nostdlib -static-pie -Wl,-T,lib/image.ld,--build-id=none,-z,norelro,-z,noexecstack,--no-warn-rwx-segments -o $@ $^
%.c.o: %.c
	gcc $(CFLAGS) -c -o $@ $<
%.S.o: %.S
	gcc $(CFLAGS) -c -o $@ $<
