// A boot sector that goes from real to protected to 64-bit mode and says so at each stage, then halts.
// 512 bytes, loaded at 0000:7C00, as a BIOS would start it. Memory it uses: page tables at 0x1000-0x3FFF, a
// stack below 0x7C00.
#include "Guest.h"

        GUEST   boot
        ADDRESS REAL_TEXT, real_text
        ADDRESS PROTECTED_TEXT, protected_text
        ADDRESS LONG_TEXT, long_text
        ADDRESS GDT_POINTER, gdt_pointer

        .set    PML4, 0x1000            // page map level 4: one entry used
        .set    PDPT, 0x2000            // page directory pointer table: one entry used
        .set    PD, 0x3000              // page directory: one 2 MiB page, linear = physical
        .set    EFER, 0xC0000080        // the MSR with the long mode enable bit

        .code16
        cli                             // nothing here handles an interrupt
        JUMPFAR16 0, real               // some BIOSes start at 07C0:0000: make CS 0
real:   xor     ax, ax
        mov     ds, ax                  // data from address 0
        mov     es, ax
        mov     ss, ax
        mov     sp, ORG                 // the stack grows down from the boot sector
        cld                             // strings go up
        mov     si, offset REAL_TEXT
        CALL16  print16

        mov     di, PML4                // clear the three tables: ES:DI on,
        mov     cx, 3 * 4096 / 4        // so many doublewords
        xor     eax, eax
        rep stosd
        mov     dword ptr [PML4], PDPT + 3      // present, writable
        mov     dword ptr [PDPT], PD + 3        // present, writable
        mov     dword ptr [PD], 0x83            // present, writable, a 2 MiB page at 0

        lgdt    [GDT_POINTER]
        mov     eax, cr0
        or      al, 1                   // CR0.PE
        mov     cr0, eax
        JUMPFAR16 0x08, protected       // CS becomes 32-bit code

        // Prints the text at DS:SI up to its zero byte.
print16:
        lodsb                           // AL = the next character
        test    al, al
        jz      printed16
        out     CONSOLE, al             // to the debug console
        mov     ah, al                  // keep it while AL reads the status
        mov     dx, COM1 + 5            // the line status register
busy16: in      al, dx
        test    al, 0x20                // THRE: room for one more
        jz      busy16
        mov     al, ah
        mov     dx, COM1
        out     dx, al                  // to the serial port
        jmp     print16
printed16:
        RET16

        .code32
protected:
        mov     ax, 0x10                // the flat data segment
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     esp, ORG
        mov     esi, offset PROTECTED_TEXT
        call    print

        mov     eax, cr4
        or      eax, 0x20               // CR4.PAE: long mode needs it
        mov     cr4, eax
        mov     eax, PML4
        mov     cr3, eax
        mov     ecx, EFER
        rdmsr
        or      eax, 0x100              // EFER.LME
        wrmsr
        mov     eax, cr0
        or      eax, 0x80000000         // CR0.PG: with LME set, this enters long mode
        mov     cr0, eax
        JUMPFAR32 0x18, long            // CS becomes 64-bit code

        // Prints the text at [E/R]SI up to its zero byte. The bytes mean the same in 32 and 64-bit code.
print:  lodsb                           // AL = the next character
        test    al, al
        jz      printed
        out     CONSOLE, al             // to the debug console
        mov     ah, al                  // keep it while AL reads the status
        mov     dx, COM1 + 5            // the line status register
busy:   in      al, dx
        test    al, 0x20                // THRE: room for one more
        jz      busy
        mov     al, ah
        mov     dx, COM1
        out     dx, al                  // to the serial port
        jmp     print
printed:
        ret

        .code64
long:   mov     ax, 0x10                // data segments are flat in 64-bit mode; SS must be valid all the same
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     rsp, ORG
        mov     esi, offset LONG_TEXT   // clears the upper half of RSI
        call    print
halt:   hlt                             // done; interrupts are off
        jmp     halt                    // an NMI would come here

        .p2align 3
gdt:    .quad   0                       // 00: the null descriptor
        .quad   0x00CF9B000000FFFF      // 08: 32-bit code, base 0, limit 4 GiB
        .quad   0x00CF93000000FFFF      // 10: data, base 0, limit 4 GiB
        .quad   0x00AF9B000000FFFF      // 18: 64-bit code
gdt_pointer:
        .word   gdt_pointer - gdt - 1   // limit: the last valid offset
        .long   AT(gdt)                 // base

real_text:
        .asciz  "real mode\n"
protected_text:
        .asciz  "protected mode\n"
long_text:
        .asciz  "64-bit mode\n"

        .org    start - start + 510     // the last two bytes of the sector
        .byte   0x55, 0xAA              // the mark of a boot sector
        GUEST_END boot
