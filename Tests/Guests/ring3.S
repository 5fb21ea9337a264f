// A Multiboot kernel that goes to ring 3 and comes back by INT n of several vectors, INT3, INTO, a gate that is not for
// ring 3, and an undefined instruction. Each handler prints its frame and its own stack, to be compared with what another
// machine prints. Ends by port F4h. Loaded at 1 MiB.
#include "Rings.h"

        KERNEL  ring3
        .set    FLAT, BASE + flat - start
        .set    USER, BASE + user - start
        .set    CALLED, BASE + called - start
        .set    FAULTED, BASE + faulted - start
        .set    UNDEFINED, BASE + undefined - start
        MULTIBOOT 0xC000

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
        LOAD_TASK
        TO_RING3 USER
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

        SEGMENTS
        TABLES
        KERNEL_END ring3
