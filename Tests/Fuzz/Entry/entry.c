// libFuzzer brings main(), and calls this for each input.
#include <stddef.h>
#include <stdint.h>

int kvmscope_fuzz(const uint8_t *bytes, size_t count);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) { return kvmscope_fuzz(bytes, count); }
