// 64-bit code of an ELF program: uses its stack, memory near 4 GiB's end (which is mapped, and where nothing is) and
// its segments, and says so.
#include "Kernel.h"

        KERNEL  elf64
        .code64
        mov     ecx, ds                 // the descriptors are there: load them again
        mov     ds, ecx
        mov     ss, ecx
        push    rcx                     // the stack is there
        pop     rcx
        mov     rax, 0xFFFFF000         // the last page of the first 4 GiB
        mov     eax, [rax]
        cmp     eax, -1                 // nobody answers there
        jne     wrong
        lea     rsi, [rip + text]
        PRINT
        hlt
wrong:  mov     al, '!'
        out     CONSOLE, al
        hlt
text:   .asciz  "64 bits\n"
        KERNEL_END elf64
