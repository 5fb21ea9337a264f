// Makes a vCPU exit in every ordinary way: port writes and reads of one, two and four bytes, REP OUTSB, MMIO
// writes and reads, HLT; and does what KVM handles inside: CPUID, RDMSR, WRMSR. Each part says "ok" or "failed".
// Loaded at 0000:7C00; uses a stack below.
#include "Guest.h"

        GUEST   exits
        ADDRESS GDT_POINTER, gdt_pointer
        ADDRESS STRING_TEXT, string_text
        LENGTH  STRING_LENGTH, string_text, string_end
        ADDRESS PORT_TEXT, port_text
        ADDRESS MMIO_TEXT, mmio_text
        ADDRESS CPUID_TEXT, cpuid_text
        ADDRESS MSR_TEXT, msr_text
        ADDRESS OK_TEXT, ok_text
        ADDRESS FAILED_TEXT, failed_text

        .set    NOBODY, 0xD0000000      // guest-physical: neither RAM nor a device is there
        .set    SYSENTER_ESP, 0x175     // an MSR that every processor has and nothing here needs

        .code16
        cli                             // nothing here handles an interrupt
        JUMPFAR16 0, real               // make CS 0
real:   xor     ax, ax
        mov     ds, ax                  // data from address 0
        mov     es, ax
        mov     ss, ax
        mov     sp, ORG                 // the stack grows down from the code
        cld                             // strings go up

        mov     si, offset STRING_TEXT  // DS:SI: what to write
        mov     cx, offset STRING_LENGTH        // how many bytes
        mov     dx, CONSOLE
        rep outsb                       // one exit for several bytes

        lgdt    [GDT_POINTER]
        mov     eax, cr0
        or      al, 1                   // CR0.PE
        mov     cr0, eax
        JUMPFAR16 0x08, protected       // CS becomes 32-bit code: all of the 4 GiB can be reached

        .code32
protected:
        mov     ax, 0x10                // the flat data segment
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     esp, ORG

        // Ports.
        mov     esi, offset PORT_TEXT
        call    print
        mov     dx, 0x1230              // a port that nobody claims
        mov     al, 0x11
        out     dx, al                  // one byte: dropped
        mov     ax, 0x2222
        out     dx, ax                  // two bytes: dropped
        mov     eax, 0x44444444
        out     dx, eax                 // four bytes: dropped
        xor     eax, eax
        in      eax, dx                 // reads as all ones
        mov     ebx, eax
        in      ax, dx
        and     ebx, eax                // EBX stays all ones if these do too
        in      al, dx
        and     ebx, eax
        xor     eax, eax
        in      al, CONSOLE             // the debug console answers with its own number
        cmp     al, CONSOLE
        jne     port_bad
        cmp     ebx, 0xFFFFFFFF
        jne     port_bad
        call    ok
        jmp     port_done
port_bad:
        call    failed
port_done:

        // MMIO.
        mov     esi, offset MMIO_TEXT
        call    print
        mov     edi, NOBODY
        mov     dword ptr [edi], 0x12345678     // dropped
        mov     byte ptr [edi + 4], 0x9A        // dropped
        xor     eax, eax
        mov     eax, dword ptr [edi]            // reads as all ones, not as what was written
        cmp     eax, 0xFFFFFFFF
        jne     mmio_bad
        movzx   eax, byte ptr [edi + 4]
        cmp     eax, 0xFF
        jne     mmio_bad
        call    ok
        jmp     mmio_done
mmio_bad:
        call    failed
mmio_done:

        // CPUID: leaf 0 gives the highest leaf, leaf 1 the features.
        mov     esi, offset CPUID_TEXT
        call    print
        xor     eax, eax
        cpuid
        cmp     eax, 1                  // there is a leaf 1
        jb      cpuid_bad
        mov     eax, 1
        cpuid
        test    edx, 1 << 5             // EDX.MSR: RDMSR and WRMSR exist
        jz      cpuid_bad
        call    ok
        jmp     cpuid_done
cpuid_bad:
        call    failed
cpuid_done:

        // WRMSR, then RDMSR must give the same.
        mov     esi, offset MSR_TEXT
        call    print
        mov     ecx, SYSENTER_ESP
        xor     edx, edx                // bits 32-63
        mov     eax, 0x00ABCDE0         // bits 0-31
        wrmsr
        xor     eax, eax
        rdmsr
        cmp     eax, 0x00ABCDE0
        jne     msr_bad
        call    ok
        jmp     halt
msr_bad:
        call    failed

halt:   hlt                             // done; interrupts are off
        jmp     halt                    // an NMI would come here

ok:     mov     esi, offset OK_TEXT
        jmp     print
failed: mov     esi, offset FAILED_TEXT

        // Prints the text at ESI up to its zero byte: one exit a character.
print:  lodsb                           // AL = the next character
        test    al, al
        jz      printed
        out     CONSOLE, al
        jmp     print
printed:
        ret

        .p2align 3
gdt:    .quad   0                       // 00: the null descriptor
        .quad   0x00CF9B000000FFFF      // 08: 32-bit code, base 0, limit 4 GiB
        .quad   0x00CF93000000FFFF      // 10: data, base 0, limit 4 GiB
gdt_pointer:
        .word   gdt_pointer - gdt - 1   // limit: the last valid offset
        .long   AT(gdt)                 // base

string_text:
        .ascii  "string out: ok\n"
string_end:
port_text:
        .asciz  "port: "
mmio_text:
        .asciz  "mmio: "
cpuid_text:
        .asciz  "cpuid: "
msr_text:
        .asciz  "msr: "
ok_text:
        .asciz  "ok\n"
failed_text:
        .asciz  "failed\n"
        GUEST_END exits
