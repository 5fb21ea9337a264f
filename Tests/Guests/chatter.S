// A boot sector that never stops touching ports: 80h is written and 61h read in turn, with interrupts off.
#include "Kernel.h"

        KERNEL  chatter
        .code16
        cli
1:      out     0x80, al
        in      al, 0x61
        jmp     1b
        .org    510
        .word   0xAA55                  // what a BIOS looks for
        KERNEL_END chatter
