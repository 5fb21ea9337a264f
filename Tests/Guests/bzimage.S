// What a Linux kernel's file looks like to a boot loader, without Linux: a sector with the setup header, one sector of
// setup code, and a kernel with an entry for 32-bit mode at its start and one for 64-bit mode 200h bytes on. Each prints
// how it was entered, the command line, and the initial RAM disk.
// Source of the layout: Linux, Documentation/arch/x86/boot.rst.
#include "Kernel.h"

        KERNEL  bzimage
        .set    REAL_TEXT, real_text - start
        .set    PROT_TEXT, prot_text - start
        .code16
        .fill   0x1F1, 1, 0             // the boot sector of old
        .byte   1                       // 1F1: one sector of setup code
        .word   0                       // 1F2: root flags
        .long   (end - kernel + 15) / 16 // 1F4: the kernel in units of 16 bytes
        .word   0, 0, 0                 // 1F8: RAM disk, video mode, root device
        .word   0xAA55                  // 1FE: the mark
        .byte   0xEB, setup - jumped    // 200: a jump over the header
jumped: .ascii  "HdrS"                  // 202
        .word   0x020C                  // 206: the protocol's version
        .long   0                       // 208: real-mode switch
        .word   0, 0                    // 20C: start of the system, version's text
        .byte   0, 1                    // 210: loader, LOADED_HIGH
        .word   0                       // 212
        .long   0x100000                // 214: code32_start
        .long   0, 0                    // 218: RAM disk, set by the loader
        .long   0                       // 220
        .word   0                       // 224: end of the heap
        .byte   0, 0                    // 226
        .long   0                       // 228: command line, set by the loader
        .long   0x7FFFFFFF              // 22C: the RAM disk's highest address
        .long   0x200000                // 230: alignment
        .byte   1, 21                   // 234: may be anywhere; 2 MiB at least
        .word   1                       // 236: XLF_KERNEL_64
        .long   255                     // 238: the longest command line
        .long   0, 0, 0                 // 23C: subarchitecture and its data
        .long   0, 0                    // 248: where the payload is, and how long
        .quad   0                       // 250: setup_data
        .quad   0x1000000               // 258: where it likes to be
        .long   0x10000                 // 260: how much room it needs
        .long   0                       // 264
setup:  // Real mode: CS is 20h paragraphs above DS, DS:0 is the file's first byte.
        mov     si, offset REAL_TEXT
        cld
1:      lodsb
        test    al, al
        jz      2f
        out     CONSOLE, al
        jmp     1b
2:      mov     esi, [0x228]            // the command line's linear address
        sub     esi, 0x90000            // in DS
1:      lodsb
        test    al, al
        jz      2f
        out     CONSOLE, al
        jmp     1b
2:      hlt
real_text:
        .asciz  "real: "
        .org    0x400

        .code32
kernel: mov     esp, 0x80000            // below the setup code's place
        FIND_START32
        push    esi
        lea     esi, [ebp + PROT_TEXT]
        PRINT
        pop     ebx
        jmp     show32
        .org    0x600
        .code64
        // 64-bit entry: RSI is boot_params.
        mov     esp, 0x80000
        mov     rbx, rsi
        lea     rsi, [rip + long_text]
        PRINT
        mov     esi, [rbx + 0x228]      // the command line
        PRINT
        NEWLINE
        mov     esi, [rbx + 0x218]      // the RAM disk
        mov     ecx, [rbx + 0x21C]
        mov     edx, CONSOLE
        rep outsb
        hlt
        .code32
show32: mov     esi, [ebx + 0x228]
        PRINT
        NEWLINE
        mov     esi, [ebx + 0x218]
        mov     ecx, [ebx + 0x21C]
        mov     edx, CONSOLE
        rep outsb
        hlt
prot_text:
        .asciz  "prot: "
long_text:
        .asciz  "long: "
end:
        KERNEL_END bzimage
