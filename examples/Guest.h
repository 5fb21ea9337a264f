/* What the assembly guests share. Included from .S files only.
 *
 * A guest is one run of bytes that is copied to ORG and started there. Every address is written as
 * `label - start + ORG`, a constant that the assembler works out by itself, so that no relocation is left in
 * the object file and the bytes are right wherever the linker puts them.
 */
#pragma once

/* Where a boot sector is loaded, and every guest here. */
#define ORG 0x7C00

/* The address of a label when the guest runs. */
#define AT(label) ((label) - start + ORG)

/* The ports that print: the debug console and the first serial port. */
#define CONSOLE 0xE9
#define COM1 0x3F8

        .intel_syntax noprefix

/* Opens a guest: `name`_begin, in read-only data. */
        .macro  GUEST name
        .section .rodata.guest.\name, "a", @progbits
        .globl  examples_\name\()_begin
        .hidden examples_\name\()_begin
        .p2align 4
examples_\name\()_begin:
start:
        .endm

/* Closes it. */
        .macro  GUEST_END name
        .globl  examples_\name\()_end
        .hidden examples_\name\()_end
examples_\name\()_end:
        .section .note.GNU-stack, "", @progbits
        .endm

/* CALL and RET of 16-bit code: in Intel syntax the assembler takes the 32-bit forms in .code16, too. */
        .macro  CALL16 target
        .byte   0xE8
        .word   \target - . - 2
        .endm
        .macro  RET16
        .byte   0xC3
        .endm

/* Far jump with a 16-bit offset. */
        .macro  JUMPFAR16 selector, target
        .byte   0xEA
        .word   \target - start + ORG, \selector
        .endm

/* Far jump with a 32-bit offset, from 32-bit code. */
        .macro  JUMPFAR32 selector, target
        .byte   0xEA
        .long   \target - start + ORG
        .word   \selector
        .endm

/* Gives `name` the address of `label`, for operands: Intel syntax takes one symbol there, no difference. */
        .macro  ADDRESS name, label
        .set    \name, \label - start + ORG
        .endm
        .macro  LENGTH name, label, end
        .set    \name, \end - \label
        .endm
