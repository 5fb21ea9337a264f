// A PVH kernel: EBX is the address of hvm_start_info. Prints the command line and the first module, then switches the
// machine off the way that ACPI's FADT says: it finds the RSDP, the XSDT, the FADT and the port of PM1a control, and
// writes SLP_EN there.
// Source: Linux, arch/x86/include/asm/xen/start_info.h; ACPI 6.5, 5.2.
#include "Kernel.h"

        KERNEL  pvh
        .code32
        mov     esp, 0x80000
        cmp     dword ptr [ebx], 0x336EC578 // the structure's mark
        jne     wrong
        mov     esi, [ebx + 24]         // the command line
        PRINT
        NEWLINE
        cmp     dword ptr [ebx + 12], 0 // how many modules
        je      acpi
        mov     edi, [ebx + 16]         // the list of them
        mov     esi, [edi]
        mov     ecx, [edi + 8]
        mov     edx, CONSOLE
        cld
        rep outsb
        NEWLINE
acpi:   mov     esi, [ebx + 32]         // the RSDP
        mov     esi, [esi + 24]         // the XSDT
        mov     esi, [esi + 36]         // its first table: the FADT
        cmp     dword ptr [esi], 0x50434146 // "FACP"
        jne     wrong
        mov     edx, [esi + 64]         // PM1a_CNT_BLK
        mov     ax, 0x2000              // SLP_EN, SLP_TYP 0
        out     dx, ax
wrong:  mov     al, '!'
        out     CONSOLE, al
        hlt
        KERNEL_END pvh
