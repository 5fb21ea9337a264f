#pragma once
#include <stdint.h>

/// What the bare C loop runs.
enum cbench_guest {
    /// A loop of three instructions, stepped one by one.
    CBENCH_STEP = 0,
    /// OUT DX, AL, an exit each, ECX times; then HLT.
    CBENCH_PORT_OUT = 1,
    /// The loop of CBENCH_STEP, to a debug register at its second instruction and past it, again and again.
    CBENCH_BREAK = 2,
    /// MOV to a read-only page, an exit each, ECX times; then HLT.
    CBENCH_WRITE = 3,
};

/// Where the guest CBENCH_BREAK has its breakpoint, and the page that CBENCH_WRITE writes to.
enum { CBENCH_BREAK_AT = 0x7C04, CBENCH_WRITE_PAGE = 0x2000 };

/// Makes a VM with one vCPU in real mode, its registers synchronised with every exit. A descriptor-like
/// number of 0 or more, or -errno.
int cbench_open(enum cbench_guest guest);
/// Runs `count` exits: KVM_RUN, and RIP and the CS base read from kvm_run. 0 or -errno; -EPROTO if an exit
/// is not the one expected. Of CBENCH_BREAK, `count` times: guest debug set, KVM_RUN to the breakpoint, the registers
/// looked at, guest debug set, KVM_RUN past it. `*nanoseconds` is the time it took.
int cbench_run(int number, uint64_t count, uint64_t *nanoseconds);
/// From now on each exit copies so many bytes into the guest's memory, once; 0 for none. 0 or -errno.
int cbench_copy(int number, uint64_t count);
void cbench_close(int number);
/// The guest's code, loaded at and entered at 0x7C00, so that others can run the same.
const uint8_t *cbench_code(enum cbench_guest guest, uint64_t *length);

/// Starts `path` with `arguments` on a new pseudo-terminal of the given size. The child's pid, or -errno;
/// `*terminal` is our end.
int cbench_spawn(const char *path, char *const arguments[], int columns, int rows, int *terminal);
/// Nanoseconds of CLOCK_MONOTONIC.
uint64_t cbench_now(void);

/// Traces a thread of another process that is in KVM_RUN on its descriptor `vcpu`, the process' vCPU 0; the thread
/// then is stopped and guest debug steps. One at a time. 0 or -errno.
int cbench_trace_open(int process, int thread, int vcpu);
/// So many steps of it: PTRACE_SETREGS, PTRACE_SINGLESTEP, waitpid, PTRACE_GETREGS, and its kvm_run read.
/// With `looks` it waits by WNOHANG and sched_yield, otherwise asleep. 0 or -errno; -EPROTO if an exit is not a debug
/// exit.
int cbench_trace_run(uint64_t count, int looks, uint64_t *nanoseconds);
/// Guest debug off, and detaches.
void cbench_trace_close(void);

/// memmem over `count` bytes of this process: the offset of the first match, -1 for none. `*nanoseconds` is the
/// time it took.
int64_t cbench_find(uint64_t address, uint64_t count, const uint8_t *needle, uint64_t length,
                    uint64_t *nanoseconds);
/// Page tables of IA-32e mode for guest-physical 0x1000: four levels that map 2 MiB from linear 0 on to the same
/// addresses, in pages of 4 KiB.
const uint8_t *cbench_tables(uint64_t *length);
/// As cbench_open, with a vCPU that stands in IA-32e mode with these tables.
int cbench_open_paged(void);
/// `count` KVM_TRANSLATE calls for the addresses i * 0x1001, cut to 2 MiB; `*sum` is that of what they gave.
/// 0 or -errno; -EPROTO if an address is not mapped.
int cbench_translate(int number, uint64_t count, uint64_t *nanoseconds, uint64_t *sum);
