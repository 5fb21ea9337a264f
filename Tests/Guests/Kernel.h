/* What the test kernels share. Included from .S files only. Each is one run of bytes that finds itself by a CALL, so
 * that it runs wherever a loader puts it. */
#pragma once

#define CONSOLE 0xE9

        .intel_syntax noprefix

        .macro  KERNEL name
        .section .rodata.kernel.\name, "a", @progbits
        .globl  kernel_\name\()_begin
        .hidden kernel_\name\()_begin
        .p2align 4
kernel_\name\()_begin:
start:
        .endm

        .macro  KERNEL_END name
        .globl  kernel_\name\()_end
        .hidden kernel_\name\()_end
kernel_\name\()_end:
        .section .note.GNU-stack, "", @progbits
        .endm

/* 32-bit: EBP = where `start` is. Needs a stack. */
        .macro  FIND_START32
        call    .Lfind\@
.Lfind\@:
        pop     ebp
        .set    .Lback\@, .Lfind\@ - start
        sub     ebp, offset .Lback\@
        .endm

/* Prints the text at ESI or RSI up to its zero byte; changes AL and ESI. */
        .macro  PRINT
7:      lodsb
        test    al, al
        jz      8f
        out     CONSOLE, al
        jmp     7b
8:
        .endm

        .macro  NEWLINE
        mov     al, 10
        out     CONSOLE, al
        .endm
