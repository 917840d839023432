#include <stdint.h>
uint16_t x=3; int main(void){ return __atomic_load_n(&x,0)-3; }
