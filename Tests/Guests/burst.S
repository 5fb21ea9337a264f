// A boot sector with so many exits and no more: 20,000 writes of port 80h and 5,000 reads of it, one after the other. Then
// it writes port F4h, at which a QEMU with isa-debug-exit ends, and halts with interrupts off. For 0000:7C00, of any
// machine.
#include "Kernel.h"

        .set    EXIT, 0xF4
        .set    PORT, 0x80

        KERNEL  burst
        .code16
        cli                             // no interrupt of a PC's timer is among the exits
        mov     ecx, 20000
1:      out     PORT, al
        dec     ecx
        jnz     1b
        mov     ecx, 5000
2:      in      al, PORT
        dec     ecx
        jnz     2b
        out     EXIT, al
3:      hlt
        jmp     3b
        .org    510
        .word   0xAA55                  // what a BIOS looks for
        KERNEL_END burst
