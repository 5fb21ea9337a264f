#include "Kernels.h"

#include <string.h>

#define KERNEL(name) \
    extern const uint8_t kernel_##name##_begin[] __attribute__((visibility("hidden"))); \
    extern const uint8_t kernel_##name##_end[] __attribute__((visibility("hidden")))

KERNEL(multiboot);
KERNEL(multiboot2);
KERNEL(elf32);
KERNEL(elf64);
KERNEL(bzimage);
KERNEL(pvh);
KERNEL(assist);
KERNEL(burst);
KERNEL(chatter);
KERNEL(ring3);
KERNEL(ring3long);
KERNEL(bioscalls);

const uint8_t *kernels_named(const char *name, size_t *size) {
    static const struct {
        const char *name;
        const uint8_t *begin, *end;
    } all[] = {
        {"multiboot", kernel_multiboot_begin, kernel_multiboot_end},
        {"multiboot2", kernel_multiboot2_begin, kernel_multiboot2_end},
        {"elf32", kernel_elf32_begin, kernel_elf32_end},
        {"elf64", kernel_elf64_begin, kernel_elf64_end},
        {"bzimage", kernel_bzimage_begin, kernel_bzimage_end},
        {"pvh", kernel_pvh_begin, kernel_pvh_end},
        {"assist", kernel_assist_begin, kernel_assist_end},
        {"burst", kernel_burst_begin, kernel_burst_end},
        {"chatter", kernel_chatter_begin, kernel_chatter_end},
        {"bioscalls", kernel_bioscalls_begin, kernel_bioscalls_end},
        {"ring3", kernel_ring3_begin, kernel_ring3_end},
        {"ring3long", kernel_ring3long_begin, kernel_ring3long_end},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strcmp(all[i].name, name) == 0) {
            *size = (size_t)(all[i].end - all[i].begin);
            return all[i].begin;
        }
    }
    return NULL;
}
