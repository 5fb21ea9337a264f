// A loader in two stages: the first unpacks the second to 0000:A000 and jumps there, so that the code of the second
// is not in memory when the guest starts. For `break 0xa000` at the very beginning. Loaded at 0000:7C00; a stack below.
#include "Guest.h"

        GUEST   twostage
        ADDRESS FIRST_TEXT, first_text
        ADDRESS PACKED, packed
        LENGTH  PACKED_LENGTH, packed, packed_end

        .set    STAGE2, 0xA000          // where the second stage runs
        .set    KEY, 0x5A               // what each byte of it is XORed with while it is packed

        .code16
        cli                             // nothing here handles an interrupt
        JUMPFAR16 0, real               // make CS 0
real:   xor     ax, ax
        mov     ds, ax                  // data from address 0
        mov     es, ax
        mov     ss, ax
        mov     sp, ORG                 // the stack grows down from the code
        cld                             // strings go up
        mov     si, offset FIRST_TEXT
        CALL16  print

        mov     si, offset PACKED       // DS:SI: the packed stage
        mov     di, STAGE2              // ES:DI: where it goes
        mov     cx, offset PACKED_LENGTH
unpack: lodsb                           // AL = a packed byte
        xor     al, KEY
        stosb                           // a byte of code: a breakpoint that stands there must survive this
        loop    unpack
        .byte   0xEA                    // far jump to 0000:A000
        .word   STAGE2, 0

        // Prints the text at DS:SI up to its zero byte; changes AL.
print:  lodsb                           // AL = the next character
        test    al, al
        jz      printed
        out     CONSOLE, al
        jmp     print
printed:
        RET16

first_text:
        .asciz  "stage 1\n"

        // The second stage, each byte XORed with KEY. Unpacked it reads:
        //   A000  mov si, A010          BE 10 A0
        //   A003  lodsb                 AC
        //   A004  test al, al           84 C0
        //   A006  jz A00C               74 04
        //   A008  out E9, al            E6 E9
        //   A00A  jmp A003              EB F7
        //   A00C  hlt                   F4
        //   A00D  jmp A00C              EB FD
        //   A00F  nop                   90
        //   A010  "stage 2\n", 0
packed: .byte   0xBE ^ KEY, 0x10 ^ KEY, 0xA0 ^ KEY
        .byte   0xAC ^ KEY
        .byte   0x84 ^ KEY, 0xC0 ^ KEY
        .byte   0x74 ^ KEY, 0x04 ^ KEY
        .byte   0xE6 ^ KEY, 0xE9 ^ KEY
        .byte   0xEB ^ KEY, 0xF7 ^ KEY
        .byte   0xF4 ^ KEY
        .byte   0xEB ^ KEY, 0xFD ^ KEY
        .byte   0x90 ^ KEY
        .byte   's' ^ KEY, 't' ^ KEY, 'a' ^ KEY, 'g' ^ KEY, 'e' ^ KEY
        .byte   ' ' ^ KEY, '2' ^ KEY, 10 ^ KEY, 0 ^ KEY
packed_end:
        GUEST_END twostage
