# what: a message can name the SPI behind the frame
# file: arch/arm64/v2m.c
# fuzz: v2m
s/spi - f->spi >= f->count/spi - f->spi > f->count/
