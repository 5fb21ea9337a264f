#pragma once
#include <stddef.h>
#include <stdint.h>

/* The bytes of a test kernel: "multiboot", "multiboot2", "elf32", "elf64", "bzimage", "pvh", "assist",
 * "burst" or "chatter"; NULL for another name. */
const uint8_t *kernels_named(const char *name, size_t *size);
