// Two vCPUs that share memory. The machine starts both at 0000:7C00; each finds out who it is from its APIC id
// (CPUID leaf 1, EBX bits 24-31). Both add ROUNDS to one counter under a lock, print one after the other, and
// vCPU 0 checks the sum. Shared words at 0x600; a stack for each below 0x7C00.
#include "Guest.h"

        GUEST   smp
        ADDRESS HELLO_TEXT, hello_text
        ADDRESS DIGIT, digit
        ADDRESS SUM_OK_TEXT, sum_ok_text
        ADDRESS SUM_BAD_TEXT, sum_bad_text

        .set    LOCK, 0x600             // a byte: 1 while someone holds it
        .set    COUNTER, 0x604          // a doubleword: what both add to
        .set    DONE, 0x608             // a doubleword: how many vCPUs are done
        .set    ROUNDS, 500

        .code16
        cli                             // nothing here handles an interrupt
        JUMPFAR16 0, real               // make CS 0
real:   xor     ax, ax
        mov     ds, ax                  // data from address 0
        mov     es, ax
        mov     ss, ax
        cld                             // strings go up

        mov     eax, 1
        cpuid                           // EBX bits 24-31: the APIC id
        shr     ebx, 24
        mov     bp, bx                  // BP = who we are, for the rest of the run
        mov     ax, bx
        shl     ax, 10                  // 1 KiB of stack each
        mov     sp, ORG
        sub     sp, ax

        mov     cx, ROUNDS
add:    CALL16  acquire
        mov     eax, dword ptr [COUNTER]        // three instructions, not one: only the lock makes
        inc     eax                             // the sum come out
        mov     dword ptr [COUNTER], eax
        CALL16  release
        loop    add

        CALL16  acquire                 // the console, too, is one at a time
        mov     ax, bp
        add     al, '0'
        mov     byte ptr [DIGIT], al    // into the text
        mov     si, offset HELLO_TEXT
        CALL16  print
        CALL16  release
        lock inc dword ptr [DONE]

        test    bp, bp                  // vCPU 0 goes on, the others are done
        jnz     halt
wait:   pause                           // until both are done
        cmp     dword ptr [DONE], 2
        jne     wait
        mov     si, offset SUM_OK_TEXT
        cmp     dword ptr [COUNTER], 2 * ROUNDS
        je      say
        mov     si, offset SUM_BAD_TEXT
say:    CALL16  print
halt:   hlt                             // done; interrupts are off
        jmp     halt                    // an NMI would come here

        // Takes the lock; changes AL.
acquire:
        mov     al, 1
        xchg    byte ptr [LOCK], al     // XCHG with memory locks the bus by itself
        test    al, al                  // 0: it was free, and is ours
        jz      acquired
        pause
        jmp     acquire
acquired:
        RET16

        // Gives the lock back.
release:
        mov     byte ptr [LOCK], 0      // stores are seen in order
        RET16

        // Prints the text at DS:SI up to its zero byte; changes AL.
print:  lodsb                           // AL = the next character
        test    al, al
        jz      printed
        out     CONSOLE, al
        jmp     print
printed:
        RET16

hello_text:
        .ascii  "vcpu "
digit:  .asciz  "? done\n"
sum_ok_text:
        .asciz  "sum ok\n"
sum_bad_text:
        .asciz  "sum wrong\n"
        GUEST_END smp
