/* What the test kernels share that go to ring 3. Included from .S files only. They are Multiboot kernels, loaded at 1 MiB,
 * print by port E9h and end by port F4h. */
#pragma once

#include "Kernel.h"

        .set    BASE, 0x100000
        .set    EXIT, 0xF4              // isa-debug-exit's port
        .set    TSS, BASE + 0x6000      // in the zeroed memory, as what follows
        .set    IDT, BASE + 0x7000
        .set    STACK, BASE + 0x9000
        .set    STACK0, BASE + 0xA000   // the TSS's stack for ring 0
        .set    STACK3, BASE + 0xB000

/* The header, first of all: loaded at BASE, zeros up to BASE + `size`, begins at `entry`. */
        .macro  MULTIBOOT size
        .set    GDT, BASE + gdt - start
        .set    GDTR, BASE + gdtr - start
        .set    IDTR, BASE + idtr - start
        .code32
        .long   0x1BADB002, 0x10003, -(0x1BADB002 + 0x10003)
        .long   BASE, BASE, 0, BASE + \size, BASE + (entry - start)
        .endm

/* Prints the four bytes of a register or a place; changes `accumulator`, which is as wide as they are. */
        .macro  SHOW32 value, accumulator=eax
        mov     \accumulator, \value
        .rept   3
        out     CONSOLE, al
        shr     eax, 8
        .endr
        out     CONSOLE, al
        .endm

/* A gate of `type` for `vector` to `handler`; of `size` bytes, in 64-bit mode by stack `ist`. Changes EAX. */
        .macro  GATE vector, handler, type, size=8, ist=0
        mov     eax, offset \handler
        mov     [IDT + \vector * \size], ax
        mov     word ptr [IDT + \vector * \size + 2], 8
        mov     word ptr [IDT + \vector * \size + 4], (\type << 8) + \ist
        shr     eax, 16
        mov     [IDT + \vector * \size + 6], ax
        .endm

/* The frame of a change of stack at SP + `at`, SP, SS, CS and the flags; by registers that are `size` bytes wide. */
        .macro  FRAME at, size=4, sp=esp, accumulator=eax, di=edi, pushf=pushfd
        SHOW32  [\sp + \at], \accumulator               // IP
        SHOW32  [\sp + \at + \size], \accumulator       // CS
        mov     \di, [\sp + \at + \size * 2]            // flags
        and     edi, 0xFFFEFFEF         // but RF, which a processor sets for a fault, and AF, as below
        SHOW32  \di, \accumulator
        SHOW32  [\sp + \at + \size * 3], \accumulator   // SP
        SHOW32  [\sp + \at + \size * 4], \accumulator   // SS
        SHOW32  \sp, \accumulator
        mov     edi, ss
        SHOW32  \di, \accumulator
        mov     edi, cs
        SHOW32  \di, \accumulator
        \pushf
        pop     \di
        and     edi, 0xFFFFFFEF         // but AF, which AND and shifts leave undefined: processors differ
        SHOW32  \di, \accumulator
        .endm

/* To `target` in ring 3 by `return`, an IRET. IOPL is 3, so that ring 3 may print; nothing interrupts. */
        .macro  TO_RING3 target, register=eax, return=iretd
        push    0x23
        mov     \register, offset STACK3
        push    \register
        push    0x3002
        push    0x1B
        mov     \register, offset \target
        push    \register
        \return
        .endm

/* TR, by the TSS of the table below. Changes EAX. */
        .macro  LOAD_TASK
        mov     eax, 0x28
        ltr     ax
        .endm

/* The descriptors that each of them has; `code` and `user`: of the two code segments. */
        .macro  SEGMENTS code=0x00CF9B000000FFFF, user=0x00CFFB000000FFFF
        .p2align 3
gdt:    .quad   0
        .quad   \code                   // 08
        .quad   0x00CF93000000FFFF      // 10: data
        .quad   \user                   // 18: of ring 3
        .quad   0x00CFF3000000FFFF      // 20: data of ring 3
        .quad   0x0000890000000067 + ((TSS & 0xFFFF) << 16) + ((TSS >> 16 & 0xFF) << 32) // 28: a TSS
        .endm

/* What LGDT and LIDT load: right after the last descriptor. `limit`: of the IDT. */
        .macro  TABLES limit=0x7FF
gdt_end:
gdtr:   .word   gdt_end - gdt - 1
        .long   GDT, 0
idtr:   .word   \limit
        .long   IDT, 0
        .endm
