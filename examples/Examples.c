#include "Examples.h"

#include <pthread.h>

/* Where each guest's .S file put its bytes. */
#define IMAGE(name) \
    extern const uint8_t examples_##name##_begin[] __attribute__((visibility("hidden"))); \
    extern const uint8_t examples_##name##_end[] __attribute__((visibility("hidden")))

IMAGE(boot);
IMAGE(exits);
IMAGE(smp);
IMAGE(spin);
IMAGE(triplefault);
IMAGE(twostage);

/* The difference of two symbols is no constant in C, so the sizes come at the first call. */
static struct examples_guest guests[] = {
    {"boot", "a boot sector: real, protected and 64-bit mode, a line from each, then HLT",
     examples_boot_begin, 0, 0x7C00, 1},
    {"exits", "exits of every ordinary kind: ports, REP OUTSB, MMIO, CPUID, MSRs, HLT",
     examples_exits_begin, 0, 0x7C00, 1},
    {"smp", "two vCPUs that add to one counter under a lock", examples_smp_begin, 0, 0x7C00, 2},
    {"spin", "a jump to itself, to be stopped", examples_spin_begin, 0, 0x7C00, 1},
    {"triplefault", "an exception that cannot be delivered", examples_triplefault_begin, 0, 0x7C00, 1},
    {"twostage", "a loader that unpacks its second stage to 0xA000 and jumps there",
     examples_twostage_begin, 0, 0x7C00, 1},
};

static const uint8_t *const ends[] = {
    examples_boot_end, examples_exits_end, examples_smp_end, examples_spin_end, examples_triplefault_end,
    examples_twostage_end,
};

static pthread_once_t measured = PTHREAD_ONCE_INIT;

static void measure(void) {
    for (size_t i = 0; i < examples_count(); i++) guests[i].size = (size_t)(ends[i] - guests[i].bytes);
}

size_t examples_count(void) {
    _Static_assert(sizeof guests / sizeof *guests == sizeof ends / sizeof *ends, "an end for each guest");
    return sizeof guests / sizeof *guests;
}

const struct examples_guest *examples_at(size_t index) {
    pthread_once(&measured, measure);
    return index < examples_count() ? &guests[index] : NULL;
}
