#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

_Static_assert(PTRACE_O_TRACEFORK == 2 && PTRACE_O_TRACEVFORK == 4 && PTRACE_O_TRACECLONE == 8, "");
_Static_assert(PTRACE_O_TRACEEXEC == 16 && PTRACE_EVENT_EXEC == 4, "");
_Static_assert(PTRACE_EVENT_FORK == 1 && PTRACE_EVENT_VFORK == 2 && PTRACE_EVENT_CLONE == 3, "");

/* The child between fork and exec: async-signal-safe calls only. Does not return. */
static void become(
    const char *const arguments[], const char *input, const char *output, int gate, int failure) {
    struct sigaction plain;
    memset(&plain, 0, sizeof plain);
    plain.sa_handler = SIG_DFL;
    for (int number = 1; number < NSIG; number++) sigaction(number, &plain, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int error = 0;
    /* The terminal of whoever asked for this is not to become ours. */
    int in = open(input, O_RDONLY | O_NOCTTY);
    int out = open(output, O_WRONLY | O_APPEND | O_CREAT | O_NOCTTY, 0600);
    if (in < 0 || out < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0) error = errno;
    if (syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC) < 0 && !error) error = errno;
    char byte;
    while (read(gate, &byte, 1) < 0 && errno == EINTR) {}
    if (!error) {
        execvp(arguments[0], (char *const *)arguments);
        error = errno;
    }
    if (write(failure, &error, sizeof error) < 0) _exit(126);
    _exit(127);
}

int clinux_launch(
    const char *const arguments[], const char *input, const char *output, unsigned long options) {
    int gate[2], failure[2];
    if (pipe2(gate, O_CLOEXEC) < 0) return -errno;
    if (pipe2(failure, O_CLOEXEC) < 0) {
        int error = errno;
        close(gate[0]);
        close(gate[1]);
        return -error;
    }
    pid_t child = fork();
    if (child == 0) become(arguments, input, output, gate[0], failure[1]);
    int error = child < 0 ? errno : 0;
    close(gate[0]);
    close(failure[1]);
    if (!error && ptrace(PTRACE_SEIZE, child, 0, options) < 0) {
        error = errno;
        kill(child, SIGKILL);
    }
    /* From here on every thread of it is seen. */
    if (!error && write(gate[1], "", 1) < 0) error = errno;
    close(gate[1]);
    if (!error) {
        int said = 0;
        ssize_t count;
        do {
            count = read(failure[0], &said, sizeof said);
        } while (count < 0 && errno == EINTR);
        if (count == (ssize_t)sizeof said) error = said;
    }
    close(failure[0]);
    if (error && child > 0) {
        int status;
        while (waitpid(child, &status, __WALL) < 0 && errno == EINTR) {}
    }
    return error ? -error : child;
}

int clinux_kill(int process, int signal) { return kill(process, signal) < 0 ? -errno : 0; }
