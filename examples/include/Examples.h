/* The example guests: assembled by the package and embedded, so that no assembler or file is needed to run
 * them. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct examples_guest {
    /* What the user types. */
    const char *name;
    /* One line on what it does. */
    const char *summary;
    /* The image; valid for the life of the process. */
    const uint8_t *bytes;
    size_t size;
    /* Where the image is loaded and, with CS base 0, started. */
    uint64_t load_address;
    /* How many vCPUs it needs, all started at the load address. */
    unsigned vcpus;
};

/* How many guests there are. */
size_t examples_count(void);

/* The guest `index`, the default one first; NULL beyond the last. */
const struct examples_guest *examples_at(size_t index);
