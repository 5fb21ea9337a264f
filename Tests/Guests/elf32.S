// 32-bit code of an ELF program: loads its own segment registers from the table that the loader made, calls, and says
// so.
#include "Kernel.h"

        KERNEL  elf32
        .set    HERE, here - start
        .set    TEXT, text - start
        .code32
        mov     eax, cs                 // the descriptors are there: load them again
        mov     ecx, ds
        mov     ds, ecx
        mov     es, ecx
        mov     ss, ecx
        FIND_START32                    // the stack is there
        push    eax                     // CS again, by a far return
        lea     ecx, [ebp + HERE]
        push    ecx
        retf
here:   lea     esi, [ebp + TEXT]
        PRINT
        hlt
text:   .asciz  "32 bits\n"
        KERNEL_END elf32
