// A Multiboot kernel that goes to ring 3 and comes back by INT n of several vectors, INT3, INTO, a gate that is not for
// ring 3, and an undefined instruction. Each handler prints its frame and its own stack, to be compared with what another
// machine prints. Ends by port F4h. Loaded at 1 MiB.
#include "Kernel.h"

        .set    BASE, 0x100000
        .set    FLAGS, 0x10003
        .set    EXIT, 0xF4              // isa-debug-exit's port

        KERNEL  ring3
        .set    GDT, BASE + gdt - start
        .set    GDTR, BASE + gdtr - start
        .set    IDTR, BASE + idtr - start
        .set    TSS, BASE + 0x6000      // in the zeroed memory
        .set    IDT, BASE + 0x7000
        .set    STACK, BASE + 0x9000
        .set    STACK0, BASE + 0xA000   // the TSS's stack for ring 0
        .set    STACK3, BASE + 0xB000
        .set    FLAT, BASE + flat - start
        .set    USER, BASE + user - start
        .set    CALLED, BASE + called - start
        .set    FAULTED, BASE + faulted - start
        .set    UNDEFINED, BASE + undefined - start
        .code32
        .long   0x1BADB002, FLAGS, -(0x1BADB002 + FLAGS)
        .long   BASE, BASE, 0, BASE + 0xC000, BASE + (entry - start)

        // Prints the four bytes of a register or a place; changes EAX.
        .macro  SHOW32 value
        mov     eax, \value
        out     CONSOLE, al
        shr     eax, 8
        out     CONSOLE, al
        shr     eax, 8
        out     CONSOLE, al
        shr     eax, 8
        out     CONSOLE, al
        .endm

        // A gate of `type` for `vector` to `handler`.
        .macro  GATE vector, handler, type
        mov     eax, offset \handler
        mov     [IDT + \vector * 8], ax
        mov     word ptr [IDT + \vector * 8 + 2], 8
        mov     word ptr [IDT + \vector * 8 + 4], \type << 8
        shr     eax, 16
        mov     [IDT + \vector * 8 + 6], ax
        .endm

        // The frame at ESP + `at`, of a change of stack, and ESP itself.
        .macro  FRAME at
        SHOW32  [esp + \at]             // EIP
        SHOW32  [esp + \at + 4]         // CS
        mov     edi, [esp + \at + 8]    // EFLAGS
        and     edi, 0xFFFEFFFF         // but RF, which a processor sets for a fault, and TCG does not
        SHOW32  edi
        SHOW32  [esp + \at + 12]        // ESP
        SHOW32  [esp + \at + 16]        // SS
        SHOW32  esp
        mov     edi, ss
        SHOW32  edi
        mov     edi, cs
        SHOW32  edi
        pushfd
        pop     edi
        SHOW32  edi
        .endm

entry:  mov     esp, STACK
        lgdt    [GDTR]
        push    0x08
        mov     eax, offset FLAT
        push    eax
        retf                            // code of this GDT
flat:   mov     eax, 0x10
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        mov     esp, STACK
        lidt    [IDTR]
        GATE    0x30, CALLED, 0xEE      // an interrupt gate for ring 3
        GATE    0x90, CALLED, 0xEF      // a trap gate for ring 3
        GATE    0x31, CALLED, 0x8E      // not for ring 3
        GATE    3, CALLED, 0xEE
        GATE    4, CALLED, 0xEE
        GATE    6, UNDEFINED, 0x8E
        GATE    13, FAULTED, 0x8E
        mov     dword ptr [TSS + 4], offset STACK0
        mov     dword ptr [TSS + 8], 0x10
        mov     eax, 0x28
        ltr     ax
        push    0x23
        mov     eax, offset STACK3
        push    eax
        push    0x3002                  // IOPL 3, so that ring 3 may print; nothing interrupts
        push    0x1B
        mov     eax, offset USER
        push    eax
        iretd
user:   mov     ecx, 0x23
        mov     ds, ecx
        stc
        int     0x30
        setc    al                      // as it was
        out     CONSOLE, al
        std
        int     0x90
        cld
        int     0x31                    // #GP
        int3
        mov     al, 0x7F
        add     al, 1                   // OF
        into
        add     al, 1
        into                            // nothing
        ud2                             // #UD
        .byte   0x0F, 0xFF, 0xC0        // UD0: #UD
        mov     al, '.'
        out     CONSOLE, al
        mov     edx, EXIT
        out     dx, al
        jmp     user

        // An INT: prints, and returns.
called: cld
        FRAME   0
        iretd

        // An error code, and two bytes to go over.
faulted:
        SHOW32  [esp]
        FRAME   4
        pop     eax
        add     dword ptr [esp], 2
        iretd

        // UD2 has two bytes, the other three.
undefined:
        FRAME   0
        mov     eax, [esp]
        cmp     byte ptr [eax + 1], 0xFF
        jne     1f
        inc     dword ptr [esp]
1:      add     dword ptr [esp], 2
        iretd

        .p2align 3
gdt:    .quad   0
        .quad   0x00CF9B000000FFFF      // 08: code
        .quad   0x00CF93000000FFFF      // 10: data
        .quad   0x00CFFB000000FFFF      // 18: code of ring 3
        .quad   0x00CFF3000000FFFF      // 20: data of ring 3
        .quad   0x0000890000000067 + ((TSS & 0xFFFF) << 16) + ((TSS >> 16 & 0xFF) << 32) // 28: a TSS
gdt_end:
gdtr:   .word   gdt_end - gdt - 1
        .long   GDT
idtr:   .word   0x7FF
        .long   IDT
        KERNEL_END ring3
