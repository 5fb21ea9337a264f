// Ends in a triple fault: an exception in protected mode with no interrupt table, so that neither it, nor the
// #GP that follows, nor the double fault can be delivered. Loaded at 0000:7C00.
#include "Guest.h"

        GUEST   triplefault
        ADDRESS TEXT, text
        LENGTH  TEXT_LENGTH, text, text_end
        ADDRESS GDT_POINTER, gdt_pointer
        ADDRESS IDT_POINTER, idt_pointer

        .code16
        cli                             // nothing here handles an interrupt
        JUMPFAR16 0, real               // make CS 0
real:   xor     ax, ax
        mov     ds, ax                  // data from address 0
        mov     es, ax
        mov     ss, ax
        mov     sp, ORG                 // the stack grows down from the code
        cld                             // strings go up
        mov     si, offset TEXT         // DS:SI: what to write
        mov     cx, offset TEXT_LENGTH  // how many bytes
        mov     dx, CONSOLE
        rep outsb
        lidt    [IDT_POINTER]           // a table of no entries
        lgdt    [GDT_POINTER]
        mov     eax, cr0
        or      al, 1                   // CR0.PE
        mov     cr0, eax
        JUMPFAR16 0x08, protected       // CS becomes 32-bit code

        .code32
protected:
        mov     eax, 0x33333333         // shows in the registers at the stop
        ud2                             // #UD cannot be delivered: #GP; nor that: #DF; nor that: shutdown

        .p2align 3
gdt:    .quad   0                       // 00: the null descriptor
        .quad   0x00CF9B000000FFFF      // 08: 32-bit code, base 0, limit 4 GiB
gdt_pointer:
        .word   gdt_pointer - gdt - 1   // limit: the last valid offset
        .long   AT(gdt)                 // base
idt_pointer:
        .word   0                       // limit: not even one entry
        .long   0                       // base

text:   .ascii  "about to fault\n"
text_end:
        GUEST_END triplefault
