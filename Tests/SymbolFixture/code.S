# Symbols and source lines for tests, which load the object file of this. Nothing here is ever run, and the line
# numbers count: tests name them.
        .code16
        .text
        .globl  fixture_start
        .type   fixture_start, @function
fixture_start:
        cli                             # line 8: offset 0
        xorw    %ax, %ax                # offset 1
fixture_loop:
        decw    %cx                     # line 11: offset 3

        jnz     fixture_loop            # line 13: offset 4
        ret                             # offset 6
        .size   fixture_start, . - fixture_start

        .type   fixture_end, @function
fixture_end:
        hlt                             # line 19: offset 7
        .size   fixture_end, . - fixture_end

        .globl  FIXTURE_SECTOR
        .equ    FIXTURE_SECTOR, 512     # a constant: it does not move
        .section .note.GNU-stack, "", @progbits
