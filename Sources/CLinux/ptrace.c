#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

_Static_assert(PTRACE_CONT == 7 && PTRACE_DETACH == 17 && PTRACE_SYSCALL == 24, "");
_Static_assert(PTRACE_LISTEN == 0x4208 && PTRACE_EVENT_STOP == 128, "");
_Static_assert(PTRACE_O_TRACESYSGOOD == 1, "");
_Static_assert(PTRACE_O_TRACEEXIT == 64 && PTRACE_EVENT_EXIT == 6, "");
_Static_assert(PTRACE_O_SUSPEND_SECCOMP == 1 << 21, "");

static int done(long result) { return result < 0 ? -errno : 0; }

int clinux_ptrace_seize(int thread, unsigned long options) {
    return done(ptrace(PTRACE_SEIZE, thread, 0, options));
}

int clinux_ptrace_options(int thread, unsigned long options) {
    return done(ptrace(PTRACE_SETOPTIONS, thread, 0, options));
}

int clinux_ptrace_interrupt(int thread) { return done(ptrace(PTRACE_INTERRUPT, thread, 0, 0)); }

int clinux_ptrace_go(int how, int thread, int signal) {
    return done(ptrace((enum __ptrace_request)how, thread, 0, (long)signal));
}

int clinux_ptrace_get_registers(int thread, struct user_regs_struct *registers) {
    return done(ptrace(PTRACE_GETREGS, thread, 0, registers));
}

int clinux_ptrace_set_registers(int thread, const struct user_regs_struct *registers) {
    return done(ptrace(PTRACE_SETREGS, thread, 0, registers));
}

int clinux_ptrace_event_message(int thread, unsigned long *message) {
    return done(ptrace(PTRACE_GETEVENTMSG, thread, 0, message));
}

int clinux_ptrace_get_signal_mask(int thread, uint64_t *mask) {
    return done(ptrace(PTRACE_GETSIGMASK, thread, sizeof *mask, mask));
}

int clinux_ptrace_set_signal_mask(int thread, uint64_t mask) {
    return done(ptrace(PTRACE_SETSIGMASK, thread, sizeof mask, &mask));
}

int clinux_ptrace_syscall_info(int thread, struct clinux_syscall_info *info) {
    struct __ptrace_syscall_info kernel;
    memset(&kernel, 0, sizeof kernel);
    long result = ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof kernel, &kernel);
    if (result < 0) return -errno;
    memset(info, 0, sizeof *info);
    info->op = kernel.op;
    info->arch = kernel.arch;
    if (kernel.op == PTRACE_SYSCALL_INFO_ENTRY) {
        info->number = kernel.entry.nr;
        for (int i = 0; i < 6; i++) info->arguments[i] = kernel.entry.args[i];
    }
    if (kernel.op == PTRACE_SYSCALL_INFO_EXIT) info->result = kernel.exit.rval;
    return 0;
}

int clinux_wait_traced(int thread, int *status) {
    siginfo_t info;
    int result;
    do {
        memset(&info, 0, sizeof info);
        // An end is looked at first, and not taken.
        result = waitid(P_PID, (id_t)thread, &info, WEXITED | WSTOPPED | WNOWAIT | __WALL);
    } while (result < 0 && errno == EINTR);
    if (result < 0) return -errno;
    if (info.si_code != CLD_TRAPPED && info.si_code != CLD_STOPPED) return 0;
    return clinux_wait(thread, status, 1);
}

int clinux_wait(int thread, int *status, int block) {
    int result;
    do {
        result = waitpid(thread, status, __WALL | (block ? 0 : WNOHANG));
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : result;
}
