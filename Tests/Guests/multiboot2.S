// A Multiboot 2 kernel that is no ELF. Prints the command line, its first module and the RSDP's signature.
// Loaded at 2 MiB.
#include "Kernel.h"

        .set    BASE, 0x200000
        .set    LENGTH, 80              // of the header

        KERNEL  multiboot2
        .code32
        .long   0xE85250D6, 0, LENGTH, 0x100000000 - (0xE85250D6 + LENGTH)
        .word   2, 0                    // tag: addresses
        .long   24, BASE, BASE, 0, BASE + 0x4000
        .word   3, 0                    // tag: the entry
        .long   12, BASE + (entry - start), 0
        .word   1, 0                    // tag: what it wants to know: modules and the newer RSDP
        .long   16, 3, 15
        .word   0, 0                    // tag: the end
        .long   8
        .if     . - start != LENGTH
        .error  "the header's length"
        .endif

entry:  mov     esp, BASE + 0x4000
        cmp     eax, 0x36D76289         // the loader's mark
        jne     wrong
        add     ebx, 8                  // past the size of it all
next:   mov     eax, [ebx]              // a tag's type
        test    eax, eax
        jz      done
        cmp     eax, 1
        jne     module
        lea     esi, [ebx + 8]          // the command line
        PRINT
        NEWLINE
        jmp     skip
module: cmp     eax, 3
        jne     acpi
        mov     esi, [ebx + 8]          // from here
        mov     ecx, [ebx + 12]         // to here
        sub     ecx, esi
        mov     edx, CONSOLE
        cld
        rep outsb
        NEWLINE
        jmp     skip
acpi:   cmp     eax, 15
        jne     skip
        lea     esi, [ebx + 8]          // a copy of the RSDP begins with eight letters
        mov     ecx, 8
        mov     edx, CONSOLE
        rep outsb
        NEWLINE
skip:   mov     eax, [ebx + 4]          // the tag's size, rounded up
        add     eax, 7
        and     eax, -8
        add     ebx, eax
        jmp     next
done:   hlt
wrong:  mov     al, '!'
        out     CONSOLE, al
        hlt
        KERNEL_END multiboot2
