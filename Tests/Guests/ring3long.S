// A Multiboot kernel that enters 64-bit mode, goes to ring 3 and comes back by INT n of several vectors, one of them by a
// stack of the interrupt stack table, INT3, a gate that is not for ring 3, and an undefined instruction. Each handler prints
// its frame and its own stack, to be compared with what another machine prints. Ends by port F4h. Loaded at 1 MiB.
#include "Rings.h"

        KERNEL  ring3long
        .set    PML4, BASE + 0x3000     // in the zeroed memory
        .set    PDPT, BASE + 0x4000
        .set    PD, BASE + 0x5000
        .set    OTHER, BASE + 0xC000    // the first of the interrupt stack table
        .set    LONG, BASE + long - start
        .set    USER, BASE + user - start
        .set    CALLED, BASE + called - start
        .set    FAULTED, BASE + faulted - start
        .set    UNDEFINED, BASE + undefined - start
        MULTIBOOT 0xD000

        .macro  FRAME64 at
        FRAME   \at, 8, rsp, rax, rdi, pushfq
        .endm

entry:  mov     esp, STACK
        lgdt    [GDTR]
        // 2 MiB, for every ring.
        mov     dword ptr [PML4], offset PDPT + 7
        mov     dword ptr [PDPT], offset PD + 7
        mov     dword ptr [PD], 0x87
        GATE    0x30, CALLED, 0xEE, 16      // an interrupt gate for ring 3
        GATE    0x90, CALLED, 0xEF, 16, 1   // a trap gate for ring 3, by the other stack
        GATE    0x31, CALLED, 0x8E, 16      // not for ring 3
        GATE    3, CALLED, 0xEE, 16
        GATE    6, UNDEFINED, 0x8E, 16
        GATE    13, FAULTED, 0x8E, 16
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
        LOAD_TASK
        TO_RING3 USER, rax, iretq
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
        FRAME64 0
        iretq

        // An error code, and two bytes to go over.
faulted:
        SHOW32  [rsp], rax
        FRAME64 8
        pop     rax
        add     qword ptr [rsp], 2
        iretq

undefined:
        FRAME64 0
        add     qword ptr [rsp], 2
        iretq

        SEGMENTS 0x00AF9B000000FFFF, 0x00AFFB000000FFFF
        .quad   0                       // the TSS's upper half
        TABLES  0xFFF
        KERNEL_END ring3long
