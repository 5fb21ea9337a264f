// A floppy that makes a table of BIOS calls and prints what came of each, to be compared with what another BIOS does: the
// name, registers, flags, and the bytes of a buffer. The first sector reads the others; the last call ends by port F4h.
//
// A record: the name and a zero; EAX EBX ECX EDX ESI EDI EBP, four bytes each; ES, FLAGS and how many bytes follow, two
// bytes each; the bytes.
#include "Kernel.h"

        .set    EXIT, 0xF4              // isa-debug-exit's port
        .set    SECTORS, 17             // the rest of the first track
        .set    BUFFER, 0x6000          // where calls read to
        .set    STACK, 0x5000

        // One call. `hide`: bit 0 to 6, a register that is not to be compared; 7 the buffer's bytes are not shown.
        .macro  CALL vector, name, ax=0, bx=0, cx=0, dx=0, si=0, di=0, bp=0, es=0, seg=0, at=0, count=0, hide=0
        .byte   \vector, \hide
        .long   \ax, \bx, \cx, \dx, \si, \di, \bp
        .word   \es, \at, \seg, \count
        .asciz  "\name"
        .endm

        KERNEL  bioscalls
        .set    BEGIN, 0x7C00 + begin - start
        .set    TABLE, 0x7C00 + table - start
        .set    ROW, 0x7C00 + row - start
        .set    NUMBER, 0x7C00 + vector - start + 1
        .set    AFTER, 0x7C00 + after - start
        .set    FOLLOWING, 0x7C00 + following - start
        .set    PACKET, 0x7C00 + packet - start
        .set    BEYOND, 0x7C00 + beyond - start
        .set    SHORT, 0x7C00 + short - start
        .set    MOVES, 0x7C00 + moves - start
        .set    TEXT, 0x7C00 + text - start
        .code16
        // The other sectors, to behind this one.
        .byte   0xEA                    // a far jump: CS is 0
        .word   BEGIN, 0
begin:  xor     ax, ax
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     sp, STACK
        cld
        mov     ax, 0x0200 + SECTORS
        mov     bx, 0x7E00
        mov     cx, 2
        xor     dx, dx
        int     0x13
        jc      failed
        jmp     run

failed: mov     al, '!'
        out     CONSOLE, al
        mov     al, 1
        out     EXIT, al
1:      hlt
        jmp     1b

        .org    510
        .word   0xAA55

        .set    ROW_HIDE, 1
        .set    ROW_EAX, 2
        .set    ROW_EBP, 26
        .set    ROW_ES, 30
        .set    ROW_AT, 32
        .set    ROW_SEG, 34
        .set    ROW_COUNT, 36
        .set    ROW_NAME, 38

        // SI: the row. Everything lies in segment 0.
run:    mov     si, offset TABLE
next:   cmp     byte ptr [si], 0
        je      done
        mov     [ROW], si
        // The buffer is the same before each call.
        push    si
        mov     di, BUFFER
        mov     cx, 0x400
        mov     al, 0xEE
        rep stosb
        pop     si
        // The vector goes into the INT.
        mov     al, [si]
        mov     [NUMBER], al
        mov     es, [si + ROW_ES]
        lea     sp, [si + ROW_EAX]      // the registers, popped from the row
        pop     eax
        pop     ebx
        pop     ecx
        pop     edx
        pop     esi
        pop     edi
        pop     ebp
        mov     sp, STACK
        sti
        clc
vector: int     0
        // What came of it, into `after`.
        pushf
        cli
        push    ds
        push    0
        pop     ds
        mov     [AFTER], eax
        mov     [AFTER + 4], ebx
        mov     [AFTER + 8], ecx
        mov     [AFTER + 12], edx
        mov     [AFTER + 16], esi
        mov     [AFTER + 20], edi
        mov     [AFTER + 24], ebp
        mov     [AFTER + 28], es
        pop     ax                      // DS
        pop     ax                      // FLAGS
        mov     [AFTER + 30], ax
        xor     ax, ax
        mov     es, ax
        mov     ss, ax
        mov     sp, STACK
        cld
        sti
        // Registers that are not to be compared.
        mov     si, [ROW]
        mov     dl, [si + ROW_HIDE]
        mov     di, offset AFTER
        mov     cx, 7
1:      shr     dl, 1
        jnc     2f
        mov     dword ptr [di], 0
2:      add     di, 4
        loop    1b
        // The name.
        lea     si, [si + ROW_NAME]
1:      lodsb
        out     CONSOLE, al
        test    al, al
        jnz     1b
        mov     [FOLLOWING], si
        mov     si, offset AFTER
        mov     cx, 32
        call    print
        mov     bx, [ROW]
        lea     si, [bx + ROW_COUNT]
        mov     cx, 2
        call    print
        mov     cx, [bx + ROW_COUNT]
        mov     si, [bx + ROW_AT]
        mov     ds, [bx + ROW_SEG]
        call    print
        xor     ax, ax
        mov     ds, ax
        mov     si, [FOLLOWING]
        jmp     next

done:   mov     al, 0x2E
        out     EXIT, al
1:      hlt
        jmp     1b

        // Prints CX bytes at DS:SI.
print:  jcxz    2f
1:      lodsb
        out     CONSOLE, al
        loop    1b
2:      ret

row:    .word   0
following:
        .word   0
after:  .fill   32

        // Packets of INT 13h AH=42h: their size, sectors, the buffer, and the first sector.
packet: .byte   16, 0
        .word   2, BUFFER, 0
        .quad   1
beyond: .byte   16, 0
        .word   1, BUFFER, 0
        .quad   0x100000000
short:  .byte   15, 0
        .word   1, BUFFER, 0
        .quad   1
        .p2align 2
        // INT 15h AH=87h: 64 KiB at 7C00h and at the buffer.
moves:  .quad   0, 0
        .quad   0x0000930000000000 + (0x7C00 << 16) + 0xFFFF
        .quad   0x0000930000000000 + (BUFFER << 16) + 0xFFFF
        .quad   0, 0
text:   .ascii  "a\x07z"

table:
        // The screen. BDA: mode, columns, page size, its start, cursors, shape, page, port.
        CALL    0x10, "10/00 mode 03", ax=0x0003, at=0x449, count=0x1C
        CALL    0x10, "10/0F", ax=0x0F00
        CALL    0x10, "10/03", ax=0x0300
        CALL    0x10, "10/0E A", ax=0x0E41, bx=7, seg=0xB800, count=4
        CALL    0x10, "10/0E line feed", ax=0x0E0A, bx=7, at=0x450, count=2
        CALL    0x10, "10/0E backspace", ax=0x0E08, bx=7, at=0x450, count=2
        CALL    0x10, "10/02", ax=0x0200, dx=0x0510, at=0x450, count=2
        CALL    0x10, "10/09", ax=0x0942, bx=0x1E, cx=3, seg=0xB800, at=0x340, count=8
        CALL    0x10, "10/0A", ax=0x0A43, bx=0x4F, cx=1, seg=0xB800, at=0x340, count=8
        CALL    0x10, "10/08", ax=0x0800
        CALL    0x10, "10/13", ax=0x1301, bx=0x2F, cx=3, dx=0x0601, bp=TEXT, seg=0xB800, at=0x3C0, count=8
        CALL    0x10, "10/03 after 13", ax=0x0300
        CALL    0x10, "10/06 one line", ax=0x0601, bx=0x5A00, cx=0x0500, dx=0x0615, seg=0xB800, at=0x322, count=8
        CALL    0x10, "10/07 one line", ax=0x0701, bx=0x5A00, cx=0x0500, dx=0x0615, seg=0xB800, at=0x3C2, count=8
        CALL    0x10, "10/01", ax=0x0100, cx=0x2000, at=0x460, count=2
        CALL    0x10, "10/05", ax=0x0501, at=0x44C, count=4
        CALL    0x10, "10/05 back", ax=0x0500, at=0x44C, count=4
        CALL    0x10, "10/1112", ax=0x1112, at=0x484, count=2
        CALL    0x10, "10/1130 1F", ax=0x1130, bx=0x0000
        CALL    0x10, "10/1130 43", ax=0x1130, bx=0x0100
        CALL    0x10, "10/1130 8x14", ax=0x1130, bx=0x0200
        CALL    0x10, "10/1130 8x8", ax=0x1130, bx=0x0300
        CALL    0x10, "10/1130 upper half", ax=0x1130, bx=0x0400
        CALL    0x10, "10/1130 8x16", ax=0x1130, bx=0x0600
        CALL    0x10, "10/1210", ax=0x1200, bx=0x10
        CALL    0x10, "10/1230", ax=0x1202, bx=0x30
        CALL    0x10, "10/1A00", ax=0x1A00
        CALL    0x10, "10/4F00", ax=0x4F00, di=BUFFER, hide=0
        CALL    0x10, "10/00 mode 13", ax=0x0013, at=0x449, count=0x1C
        CALL    0x10, "10/00 mode 13 rows", ax=0x0F00, at=0x484, count=6
        CALL    0x10, "10/0C", ax=0x0C5A, cx=7, dx=3, seg=0xA000, at=960, count=9
        CALL    0x10, "10/0D", ax=0x0D00, cx=7, dx=3
        CALL    0x10, "10/0E in mode 13", ax=0x0E20, bx=9, at=0x450, count=2
        CALL    0x10, "10/00 mode 04", ax=0x0004, at=0x449, count=0x1C
        CALL    0x10, "10/0C in mode 04", ax=0x0C02, cx=6, dx=3, seg=0xB800, at=0x2050, count=3
        CALL    0x10, "10/0D in mode 04", ax=0x0D00, cx=6, dx=3
        CALL    0x10, "10/00 mode 06", ax=0x0006, at=0x449, count=0x1C
        CALL    0x10, "10/0C in mode 06", ax=0x0C01, cx=9, dx=4, seg=0xB800, at=160, count=3
        CALL    0x10, "10/00 mode 0D", ax=0x000D, at=0x449, count=0x1C
        CALL    0x10, "10/00 mode 0E", ax=0x000E, at=0x449, count=0x1C
        CALL    0x10, "10/00 mode 10", ax=0x0010, at=0x449, count=0x1C
        CALL    0x10, "10/00 mode 12", ax=0x0012, at=0x449, count=0x1C
        CALL    0x10, "10/00 mode 12 rows", ax=0x0F00, at=0x484, count=6
        CALL    0x10, "10/00 mode 01", ax=0x0001, at=0x449, count=0x1C
        CALL    0x10, "10/00 mode 83", ax=0x0083, at=0x449, count=0x1C
        CALL    0x10, "10/7F", ax=0x7F00
        // What there is.
        CALL    0x11, "11"
        CALL    0x12, "12"
        // Drives.
        CALL    0x13, "13/00 floppy", ax=0
        CALL    0x13, "13/00 disk", ax=0, dx=0x80
        CALL    0x13, "13/00 no disk", ax=0, dx=0x81
        CALL    0x13, "13/01 disk", ax=0x0100, dx=0x80
        CALL    0x13, "13/02 floppy", ax=0x0201, bx=BUFFER, cx=1, at=BUFFER, count=8
        CALL    0x13, "13/02 floppy, two", ax=0x0202, bx=BUFFER, cx=1, at=BUFFER, count=8
        CALL    0x13, "13/02 floppy, sector 19", ax=0x0201, bx=BUFFER, cx=19, at=BUFFER, count=2
        CALL    0x13, "13/02 floppy, sector 0", ax=0x0201, bx=BUFFER, cx=0, at=BUFFER, count=2
        CALL    0x13, "13/02 floppy, none", ax=0x0200, bx=BUFFER, cx=1, at=BUFFER, count=2
        CALL    0x13, "13/02 no floppy", ax=0x0201, bx=BUFFER, cx=1, dx=1, at=BUFFER, count=2
        CALL    0x13, "13/02 disk", ax=0x0202, bx=BUFFER, cx=2, dx=0x80, at=BUFFER, count=8
        CALL    0x13, "13/02 disk, head 15", ax=0x0201, bx=BUFFER, cx=63, dx=0x0F80, at=BUFFER, count=8
        CALL    0x13, "13/02 disk, sector 0", ax=0x0201, bx=BUFFER, cx=0, dx=0x80, at=BUFFER, count=2
        CALL    0x13, "13/02 disk, head 16", ax=0x0201, bx=BUFFER, cx=1, dx=0x1080, at=BUFFER, count=2
        CALL    0x13, "13/02 disk, cylinder 1023", ax=0x0201, bx=BUFFER, cx=0xFFC1, dx=0x80, at=BUFFER, count=2
        CALL    0x13, "13/02 no disk", ax=0x0201, bx=BUFFER, cx=1, dx=0x81, at=BUFFER, count=2
        CALL    0x13, "13/01 after that", ax=0x0100, dx=0x80
        CALL    0x13, "13/03 disk", ax=0x0301, bx=0x7C00, cx=9, dx=0x80
        CALL    0x13, "13/02 what was written", ax=0x0201, bx=BUFFER, cx=9, dx=0x80, at=BUFFER, count=8
        CALL    0x13, "13/04 disk", ax=0x0401, bx=BUFFER, cx=1, dx=0x80
        CALL    0x13, "13/08 floppy", ax=0x0800, bx=0x5555, dx=0
        CALL    0x13, "13/08 no floppy", ax=0x0800, bx=0x5555, dx=1
        CALL    0x13, "13/08 disk", ax=0x0800, bx=0x5555, dx=0x80
        CALL    0x13, "13/08 no disk", ax=0x0800, bx=0x5555, dx=0x81
        CALL    0x13, "13/0C", ax=0x0C00, cx=1, dx=0x80
        CALL    0x13, "13/10", ax=0x1000, dx=0x80
        CALL    0x13, "13/15 floppy", ax=0x1500
        CALL    0x13, "13/15 no floppy", ax=0x1500, dx=1
        CALL    0x13, "13/15 disk", ax=0x1500, dx=0x80
        CALL    0x13, "13/15 no disk", ax=0x1500, dx=0x81
        CALL    0x13, "13/16 floppy", ax=0x1600
        CALL    0x13, "13/41 floppy", ax=0x4100, bx=0x55AA
        CALL    0x13, "13/41 disk", ax=0x4100, bx=0x55AA, dx=0x80
        CALL    0x13, "13/41 disk, no mark", ax=0x4100, bx=0x1234, dx=0x80
        CALL    0x13, "13/41 no disk", ax=0x4100, bx=0x55AA, dx=0x81
        CALL    0x13, "13/42 disk", ax=0x4200, dx=0x80, si=PACKET, at=BUFFER, count=8
        CALL    0x13, "13/42 beyond", ax=0x4200, dx=0x80, si=BEYOND, at=BEYOND, count=4
        CALL    0x13, "13/42 short", ax=0x4200, dx=0x80, si=SHORT, at=SHORT, count=4
        CALL    0x13, "13/42 floppy", ax=0x4200, dx=0, si=PACKET
        CALL    0x13, "13/44 disk", ax=0x4400, dx=0x80, si=PACKET
        CALL    0x13, "13/47 disk", ax=0x4700, dx=0x80, si=PACKET
        CALL    0x13, "13/48 EEEE", ax=0x4800, dx=0x80, si=BUFFER, at=BUFFER, count=30
        CALL    0x13, "13/48 floppy", ax=0x4800, dx=0, si=BUFFER, at=BUFFER, count=2
        CALL    0x13, "13/4B01 disk", ax=0x4B01, dx=0x80, si=BUFFER, at=BUFFER, count=4
        CALL    0x13, "13/77 disk", ax=0x7700, dx=0x80
        CALL    0x13, "13/77 floppy", ax=0x7700
        // The serial port, the system, memory.
        CALL    0x14, "14/03", ax=0x0300
        CALL    0x14, "14/03 no port", ax=0x0300, dx=3
        CALL    0x15, "15/2402", ax=0x2402
        CALL    0x15, "15/2403", ax=0x2403
        CALL    0x15, "15/24 unknown", ax=0x2477
        CALL    0x15, "15/4F", ax=0x4F1E
        CALL    0x15, "15/53 installed", ax=0x5300
        CALL    0x15, "15/83 cancel", ax=0x8301
        CALL    0x15, "15/83", ax=0x8300, cx=0x0010, bx=BUFFER, at=0x4A0, count=1
        CALL    0x15, "15/83 again", ax=0x8300, cx=0x0010, bx=BUFFER
        CALL    0x15, "15/83 cancelled", ax=0x8301, at=0x4A0, count=1
        CALL    0x15, "15/86", ax=0x8600, dx=2000
        CALL    0x15, "15/87", ax=0x8700, cx=8, si=MOVES, at=BUFFER, count=8
        CALL    0x15, "15/88", ax=0x8800
        CALL    0x15, "15/90", ax=0x9000
        CALL    0x15, "15/91", ax=0x9100
        CALL    0x15, "15/C0", ax=0xC000
        CALL    0x15, "15/C1", ax=0xC100
        CALL    0x15, "15/E801", ax=0xE801
        CALL    0x15, "15/E820 first", ax=0xE820, cx=24, dx=0x534D4150, di=BUFFER, at=BUFFER, count=24
        CALL    0x15, "15/E820 second", ax=0xE820, bx=1, cx=20, dx=0x534D4150, di=BUFFER, at=BUFFER, count=24
        CALL    0x15, "15/E820 no mark", ax=0xE820, cx=20, dx=0, di=BUFFER
        CALL    0x15, "15/E820 short", ax=0xE820, cx=19, dx=0x534D4150, di=BUFFER
        CALL    0x15, "15/E881", ax=0xE881
        CALL    0x15, "15/E980", ax=0xE980
        CALL    0x15, "15/EC00", ax=0xEC00
        CALL    0x15, "15/77", ax=0x7700
        // Keys.
        CALL    0x16, "16/01 none", ax=0x0100
        CALL    0x16, "16/11 none", ax=0x1100
        CALL    0x16, "16/02", ax=0x0200
        CALL    0x16, "16/03", ax=0x0305, bx=0
        CALL    0x16, "16/05", ax=0x0500, cx=0x1E61
        CALL    0x16, "16/01", ax=0x0100
        CALL    0x16, "16/00", ax=0
        CALL    0x16, "16/05 enhanced", ax=0x0500, cx=0x48E0
        CALL    0x16, "16/10", ax=0x1000
        CALL    0x16, "16/09", ax=0x0900
        CALL    0x16, "16/12", ax=0x1200
        CALL    0x16, "16/77", ax=0x7700
        CALL    0x17, "17/02", ax=0x0200
        // Clocks: what they show is not compared.
        CALL    0x1A, "1A/00", ax=0, hide=0x0C
        CALL    0x1A, "1A/02", ax=0x0200, hide=0x0C
        CALL    0x1A, "1A/04", ax=0x0400, hide=0x0C
        CALL    0x1A, "1A/77", ax=0x7700
        .byte   0
        .org    (SECTORS + 1) * 512
        KERNEL_END bioscalls
