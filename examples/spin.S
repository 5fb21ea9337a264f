// Never exits: for `stop`, Ctrl-C and F12. Says that it starts, then jumps to itself. Loaded at 0000:7C00.
#include "Guest.h"

        GUEST   spin
        ADDRESS TEXT, text
        LENGTH  TEXT_LENGTH, text, text_end

        .code16
        cli                             // nothing here handles an interrupt
        JUMPFAR16 0, real               // make CS 0
real:   xor     ax, ax
        mov     ds, ax                  // data from address 0
        cld                             // strings go up
        mov     si, offset TEXT         // DS:SI: what to write
        mov     cx, offset TEXT_LENGTH  // how many bytes
        mov     dx, CONSOLE
        rep outsb
spin:   jmp     spin                    // for ever

text:   .ascii  "spinning\n"
text_end:
        GUEST_END spin
