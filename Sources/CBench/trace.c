#define _GNU_SOURCE
#include "CBench.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

// Steps of another program's vCPU with the plainest use of ptrace: set registers, step over KVM_RUN, wait, get
// registers, read kvm_run.

static struct {
    int thread, vcpu, memory;
    uint64_t run, site;
    // Looks again and lets others run, instead of sleeping until the thread stops.
    int looks;
    struct user_regs_struct registers;
} traced;

// The next stop of the thread. 0 or -errno.
static int next_stop(int *status) {
    int result;
    while (!(result = waitpid(traced.thread, status, __WALL | (traced.looks ? WNOHANG : 0)))) sched_yield();
    return result < 0 ? -errno : 0;
}

static long call(int descriptor, unsigned long request, uint64_t argument, struct user_regs_struct *after) {
    struct user_regs_struct registers = traced.registers;
    int status, waited;
    registers.rip = traced.site;
    registers.rax = 16;
    registers.orig_rax = (unsigned long long)-1;
    registers.rdi = (unsigned long long)descriptor;
    registers.rsi = request;
    registers.rdx = argument;
    if (ptrace(PTRACE_SETREGS, traced.thread, 0, &registers)) return -errno;
    if (ptrace(PTRACE_SINGLESTEP, traced.thread, 0, 0)) return -errno;
    if ((waited = next_stop(&status))) return waited;
    if (!WIFSTOPPED(status)) return -ESRCH;
    if (ptrace(PTRACE_GETREGS, traced.thread, 0, after)) return -errno;
    return (long)after->rax;
}

static int debug(uint32_t control) {
    struct user_regs_struct after;
    struct kvm_guest_debug argument = {.control = control};
    // Far below the red zone of a thread that is stopped.
    uint64_t scratch = (traced.registers.rsp - 8192) & ~0xFFFull;
    if (pwrite(traced.memory, &argument, sizeof argument, (off_t)scratch) != sizeof argument) return -errno;
    return (int)call(traced.vcpu, KVM_SET_GUEST_DEBUG, scratch, &after);
}

// Where the process has mapped the kvm_run of its vCPU 0; 0 if nowhere.
static uint64_t run_address(int process) {
    char line[512];
    uint64_t address = 0;
    snprintf(line, sizeof line, "/proc/%d/maps", process);
    FILE *maps = fopen(line, "re");
    if (!maps) return 0;
    while (!address && fgets(line, sizeof line, maps)) {
        if (strstr(line, "anon_inode:kvm-vcpu:0\n")) address = strtoull(line, NULL, 16);
    }
    fclose(maps);
    return address;
}

int cbench_trace_open(int process, int thread, int vcpu) {
    char path[64];
    int status;
    snprintf(path, sizeof path, "/proc/%d/mem", process);
    traced.thread = thread;
    traced.vcpu = vcpu;
    traced.run = run_address(process);
    if (!traced.run) return -ENOENT;
    traced.memory = open(path, O_RDWR | O_CLOEXEC);
    if (traced.memory < 0) return -errno;
    if (ptrace(PTRACE_SEIZE, thread, 0, 0)) return -errno;
    if (ptrace(PTRACE_INTERRUPT, thread, 0, 0)) return -errno;
    if (waitpid(thread, &status, __WALL) < 0) return -errno;
    if (ptrace(PTRACE_GETREGS, thread, 0, &traced.registers)) return -errno;
    if (traced.registers.orig_rax != 16 || traced.registers.rsi != KVM_RUN) return -EBUSY;
    traced.site = traced.registers.rip - 2;
    return debug(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP);
}

int cbench_trace_run(uint64_t count, int looks, uint64_t *nanoseconds) {
    static uint8_t page[4096];
    struct user_regs_struct after;
    uint32_t reason;
    traced.looks = looks;
    uint64_t start = cbench_now();
    for (uint64_t i = 0; i < count; i++) {
        long result = call(traced.vcpu, KVM_RUN, 0, &after);
        if (result) return (int)result;
        if (pread(traced.memory, page, sizeof page, (off_t)traced.run) != sizeof page) return -errno;
        memcpy(&reason, page + offsetof(struct kvm_run, exit_reason), sizeof reason);
        if (reason != KVM_EXIT_DEBUG) return -EPROTO;
    }
    *nanoseconds = cbench_now() - start;
    return 0;
}

void cbench_trace_close(void) {
    struct user_regs_struct registers = traced.registers;
    debug(0);
    registers.rip = traced.site;
    registers.rax = 16;
    registers.orig_rax = (unsigned long long)-1;
    registers.rsi = KVM_RUN;
    registers.rdx = 0;
    ptrace(PTRACE_SETREGS, traced.thread, 0, &registers);
    ptrace(PTRACE_DETACH, traced.thread, 0, 0);
    close(traced.memory);
}
