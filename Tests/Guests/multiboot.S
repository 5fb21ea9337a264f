// A Multiboot kernel that is no ELF: its header says where it goes. Prints the command line, the loader's name, its
// first module and the KiB above 1 MiB in hexadecimal, each on a line of its own. Loaded at 1 MiB.
#include "Kernel.h"

        .set    BASE, 0x100000
        .set    FLAGS, 0x10003          // modules on pages, memory, and the addresses below

        KERNEL  multiboot
        .code32
header: .long   0x1BADB002, FLAGS, -(0x1BADB002 + FLAGS)
        .long   BASE                    // where the header is
        .long   BASE                    // where the file's bytes go
        .long   0                       // to the file's end
        .long   BASE + 0x4000           // then zeroes up to here
        .long   BASE + (entry - start)  // where it starts

entry:  mov     esp, BASE + 0x4000      // a stack in the zeroed memory
        cmp     eax, 0x2BADB002         // the loader's mark
        jne     wrong
        mov     esi, [ebx + 16]         // the command line
        PRINT
        NEWLINE
        mov     esi, [ebx + 64]         // the loader's name
        PRINT
        NEWLINE
        cmp     dword ptr [ebx + 20], 0 // how many modules
        je      memory
        mov     edi, [ebx + 24]         // the first of them
        mov     esi, [edi]              // from here
        mov     ecx, [edi + 4]          // to here
        sub     ecx, esi
        mov     edx, CONSOLE
        cld
        rep outsb
        NEWLINE
memory: mov     edx, [ebx + 8]          // KiB above 1 MiB
        mov     ecx, 8                  // digits
digit:  rol     edx, 4                  // the next one into the low bits
        mov     al, dl
        and     al, 15
        cmp     al, 10
        jb      low
        add     al, 'a' - '0' - 10
low:    add     al, '0'
        out     CONSOLE, al
        loop    digit
        NEWLINE
        hlt                             // the end
wrong:  mov     al, '!'
        out     CONSOLE, al
        hlt
        KERNEL_END multiboot
