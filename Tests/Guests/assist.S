// A Multiboot kernel that executes what some hosts' KVM lacks and prints what came of it, in bytes, to be compared with
// what another machine prints: decimal adjustment of every value, LAR and LSL of every selector of its GDT, INT and IRET
// on one level, IRET and far RET to ring 3. Ends by port F4h. Loaded at 1 MiB.
#include "Rings.h"

        KERNEL  assist
        .set    FLAT, BASE + flat - start
        .set    SAME, BASE + same - start
        .set    TRAP, BASE + trap - start
        .set    BACK1, BASE + back1 - start
        .set    BACK2, BASE + back2 - start
        .set    USER1, BASE + user1 - start
        .set    USER2, BASE + user2 - start
        MULTIBOOT 0xC000

        // Prints AL.
        .macro  SHOW
        out     CONSOLE, al
        .endm

        // One decimal instruction over all of AL, with CF and AF clear and set. `mask`: the flags that it defines.
        .macro  ADJUST opcode, mask
        xor     ebx, ebx                // BL: AL before; BH: bit 0 CF, bit 4 AF
3:      mov     ah, bh
        or      ah, 2                   // the flag that is always set
        sahf
        mov     al, bl
        mov     ah, 0x12
        \opcode
        mov     edx, eax                // what came of it
        lahf
        mov     cl, ah                  // and the flags
        mov     al, dl
        SHOW
        mov     al, dh
        SHOW
        mov     al, cl
        and     al, \mask
        SHOW
        inc     bl
        jnz     3b
        add     bh, 1                   // 00, 01, 10h, 11h
        test    bh, 2
        jz      3b
        and     bh, 0x10
        xor     bh, 0x10
        jnz     3b
        .endm

entry:  mov     esp, STACK
        lgdt    [GDTR]
        push    8                       // the code segment of our own table
        mov     eax, offset FLAT
        push    eax
        retf                            // on one level
flat:   mov     eax, 0x10
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        mov     esp, STACK
        xor     eax, eax
        lldt    ax                      // no LDT

        ADJUST  daa, 0xD5
        ADJUST  das, 0xD5
        ADJUST  aaa, 0x11
        ADJUST  aas, 0x11

        // LAR and LSL of every selector, the RPLs among them, and some beyond the table.
        xor     esi, esi
rights: xor     ebx, ebx
        lar     ebx, esi
        setz    cl
        mov     al, cl
        SHOW
        SHOW32  ebx
        xor     ebx, ebx
        lsl     ebx, esi
        setz    cl
        mov     al, cl
        SHOW
        SHOW32  ebx
        inc     esi
        cmp     esi, 0x90
        jne     rights

        // POPCNT with the flags that it sets, of a register and of a word in memory.
        xor     ebx, ebx
        mov     esi, 64
ones:   popcnt  eax, ebx
        pushfd
        SHOW
        pop     eax
        SHOW
        mov     [STACK3], ebx
        mov     eax, -1
        popcnt  ax, word ptr [STACK3]
        pushfd
        SHOW
        pop     eax
        SHOW
        lea     ebx, [ebx * 4 + ebx + 1]
        dec     esi
        jnz     ones

        // INT and IRET on one level, by an interrupt gate and by a trap gate.
        lidt    [IDTR]
        GATE    0x40, SAME, 0x8E
        GATE    0x41, SAME, 0x8F
        GATE    13, TRAP, 0x8E          // what ring 3 ends in: HLT is not for it
        push    0x46                    // no IF: nothing may interrupt
        popfd
        stc
        int     0x40
        setc    al                      // the handler's flags are gone
        SHOW
        int     0x41
        wait

        // To ring 3 by IRET, back by an exception, to ring 3 by RETF, back by an exception.
        mov     dword ptr [TSS + 4], offset STACK0
        mov     dword ptr [TSS + 8], 0x10
        LOAD_TASK
        mov     ebp, offset BACK1       // where the handler goes on
        TO_RING3 USER1
user1:  mov     eax, ds                 // ring 0's data is gone
        SHOW
        mov     al, '3'
        SHOW
        hlt                             // #GP: ring 0 goes on at EBP
back1:  mov     esp, STACK
        mov     ebp, offset BACK2
        push    0x23
        mov     eax, offset STACK3
        push    eax
        push    0x1111                  // dropped by the RETF
        push    0x1B
        mov     eax, offset USER2
        push    eax
        retf    4
user2:  mov     eax, esp
        SHOW
        hlt                             // #GP: ring 0 goes on at EBP
back2:  mov     al, '.'
        SHOW
        mov     edx, EXIT
        out     dx, al
        hlt

        // On one level: prints the frame, turns CF off in what is returned to... and in its own.
same:   SHOW32  [esp]                   // EIP
        SHOW32  [esp + 4]               // CS
        SHOW32  [esp + 8]               // EFLAGS
        pushfd
        pop     edx
        and     edx, 0xFFFFFFEF         // but AF, which shifts leave undefined: processors differ
        SHOW32  edx                     // its own: IF and TF
        clc
        iretd

        // From ring 3: prints the error code and the frame, and goes on at EBP.
trap:   mov     edx, 0x10               // its own data
        mov     ds, edx
        SHOW32  [esp]
        SHOW32  [esp + 4]
        SHOW32  [esp + 8]
        mov     edi, [esp + 12]
        and     edi, 0xFFFEFFEF         // but RF, which a processor sets for a fault, and AF, as above
        SHOW32  edi
        SHOW32  [esp + 16]              // ESP
        SHOW32  [esp + 20]              // SS
        SHOW32  esp
        jmp     ebp

        SEGMENTS
        .quad   0x00409F0000001234      // 30: conforming code, in bytes
        .quad   0x0000130000004321      // 38: data that is not present
        .quad   0x0000820000000010      // 40: an LDT
        .quad   0x00008C0000081234      // 48: a call gate
        .quad   0x0000850000280000      // 50: a task gate
        .quad   0x00008E0000081234      // 58: an interrupt gate
        .quad   0x00008F0000081234      // 60: a trap gate
        .quad   0x0000810000000020      // 68: a 16-bit TSS
        .quad   0x0000840000081234      // 70: a 16-bit call gate
        .quad   0x0000800000000000      // 78: a type that is reserved
        TABLES
        KERNEL_END assist
