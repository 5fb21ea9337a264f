// A Multiboot kernel that enters 64-bit mode, goes to ring 3 and comes back by INT n of several vectors, one of them by a
// stack of the interrupt stack table, INT3, a gate that is not for ring 3, and an undefined instruction. Each handler prints
// its frame and its own stack, to be compared with what another machine prints. Ends by port F4h. Loaded at 1 MiB.
#include "Kernel.h"

        .set    BASE, 0x100000
        .set    FLAGS, 0x10003
        .set    EXIT, 0xF4              // isa-debug-exit's port

        KERNEL  ring3long
        .set    GDT, BASE + gdt - start
        .set    GDTR, BASE + gdtr - start
        .set    IDTR, BASE + idtr - start
        .set    PML4, BASE + 0x3000     // in the zeroed memory
        .set    PDPT, BASE + 0x4000
        .set    PD, BASE + 0x5000
        .set    TSS, BASE + 0x6000
        .set    IDT, BASE + 0x7000
        .set    STACK, BASE + 0x9000
        .set    STACK0, BASE + 0xA000   // the TSS's stack for ring 0
        .set    STACK3, BASE + 0xB000
        .set    OTHER, BASE + 0xC000    // the first of the interrupt stack table
        .set    LONG, BASE + long - start
        .set    USER, BASE + user - start
        .set    CALLED, BASE + called - start
        .set    FAULTED, BASE + faulted - start
        .set    UNDEFINED, BASE + undefined - start
        .code32
        .long   0x1BADB002, FLAGS, -(0x1BADB002 + FLAGS)
        .long   BASE, BASE, 0, BASE + 0xD000, BASE + (entry - start)

        // Prints the low four bytes of a register or a place; changes RAX.
        .macro  SHOW value
        mov     rax, \value
        out     CONSOLE, al
        shr     eax, 8
        out     CONSOLE, al
        shr     eax, 8
        out     CONSOLE, al
        shr     eax, 8
        out     CONSOLE, al
        .endm

        // A gate of `type` for `vector` to `handler`, by stack `ist`.
        .macro  GATE vector, handler, type, ist=0
        mov     eax, offset \handler
        mov     [IDT + \vector * 16], ax
        mov     word ptr [IDT + \vector * 16 + 2], 8
        mov     word ptr [IDT + \vector * 16 + 4], (\type << 8) + \ist
        shr     eax, 16
        mov     [IDT + \vector * 16 + 6], ax
        .endm

        // The frame at RSP + `at`, and RSP itself.
        .macro  FRAME at
        SHOW    [rsp + \at]             // RIP
        SHOW    [rsp + \at + 8]         // CS
        mov     rdi, [rsp + \at + 16]   // RFLAGS
        and     edi, 0xFFFEFFFF         // but RF, which a processor sets for a fault, and TCG does not
        SHOW    rdi
        SHOW    [rsp + \at + 24]        // RSP
        SHOW    [rsp + \at + 32]        // SS
        SHOW    rsp
        mov     edi, ss
        SHOW    rdi
        mov     edi, cs
        SHOW    rdi
        pushfq
        pop     rdi
        SHOW    rdi
        .endm

entry:  mov     esp, STACK
        lgdt    [GDTR]
        // 2 MiB, for every ring.
        mov     dword ptr [PML4], offset PDPT + 7
        mov     dword ptr [PDPT], offset PD + 7
        mov     dword ptr [PD], 0x87
        GATE    0x30, CALLED, 0xEE      // an interrupt gate for ring 3
        GATE    0x90, CALLED, 0xEF, 1   // a trap gate for ring 3, by the other stack
        GATE    0x31, CALLED, 0x8E      // not for ring 3
        GATE    3, CALLED, 0xEE
        GATE    6, UNDEFINED, 0x8E
        GATE    13, FAULTED, 0x8E
        mov     dword ptr [TSS + 4], offset STACK0
        mov     dword ptr [TSS + 0x24], offset OTHER
        lidt    [IDTR]
        mov     eax, cr4
        or      eax, 0x20               // PAE
        mov     cr4, eax
        mov     eax, offset PML4
        mov     cr3, eax
        mov     ecx, 0xC0000080         // EFER
        rdmsr
        or      eax, 0x100              // LME
        wrmsr
        mov     eax, cr0
        or      eax, 0x80000001         // PG
        mov     cr0, eax
        push    0x08
        mov     eax, offset LONG
        push    eax
        retf
        .code64
long:   mov     eax, 0x10
        mov     ds, eax
        mov     ss, eax
        mov     eax, 0x28
        ltr     ax
        push    0x23
        mov     rax, offset STACK3
        push    rax
        push    0x3002                  // IOPL 3, so that ring 3 may print; nothing interrupts
        push    0x1B
        mov     rax, offset USER
        push    rax
        iretq
user:   stc
        int     0x30
        setc    al                      // as it was
        out     CONSOLE, al
        std
        int     0x90
        cld
        int     0x31                    // #GP
        int3
        ud2                             // #UD
        mov     al, '.'
        out     CONSOLE, al
        mov     edx, EXIT
        out     dx, al
        jmp     user

        // An INT: prints, and returns.
called: cld
        FRAME   0
        iretq

        // An error code, and two bytes to go over.
faulted:
        SHOW    [rsp]
        FRAME   8
        pop     rax
        add     qword ptr [rsp], 2
        iretq

undefined:
        FRAME   0
        add     qword ptr [rsp], 2
        iretq

        .p2align 3
gdt:    .quad   0
        .quad   0x00AF9B000000FFFF      // 08: 64-bit code
        .quad   0x00CF93000000FFFF      // 10: data
        .quad   0x00AFFB000000FFFF      // 18: code of ring 3
        .quad   0x00CFF3000000FFFF      // 20: data of ring 3
        .quad   0x0000890000000067 + ((TSS & 0xFFFF) << 16) + ((TSS >> 16 & 0xFF) << 32) // 28: a TSS
        .quad   0
gdt_end:
gdtr:   .word   gdt_end - gdt - 1
        .long   GDT, 0
idtr:   .word   0xFFF
        .long   IDT, 0
        KERNEL_END ring3long
