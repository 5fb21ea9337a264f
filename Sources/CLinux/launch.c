#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/magic.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

_Static_assert(PTRACE_O_TRACEFORK == 2 && PTRACE_O_TRACEVFORK == 4 && PTRACE_O_TRACECLONE == 8, "");
_Static_assert(PTRACE_O_TRACEEXEC == 16 && PTRACE_EVENT_EXEC == 4, "");
_Static_assert(PTRACE_EVENT_FORK == 1 && PTRACE_EVENT_VFORK == 2 && PTRACE_EVENT_CLONE == 3, "");

/*
 * Opening a named pipe waits for its other end, and whoever launches waits with it and could not be left. One that is
 * read from is opened for both, which does not wait: the program waits for what it reads, and sees no end of it. One that
 * is written to has to have a reader (ENXIO). The terminal of whoever asked for this is not to become ours.
 */
static int open_input(const char *path) {
    struct stat status;
    struct statfs system;
    int is_named_pipe = stat(path, &status) == 0 && S_ISFIFO(status.st_mode) && statfs(path, &system) == 0
        && system.f_type != PIPEFS_MAGIC;
    return open(path, (is_named_pipe ? O_RDWR : O_RDONLY) | O_NOCTTY);
}

static int open_output(const char *path) {
    int out = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOCTTY | O_NONBLOCK, 0600);
    if (out >= 0 && fcntl(out, F_SETFL, O_APPEND) < 0) {
        int error = errno;
        close(out);
        errno = error;
        return -1;
    }
    return out;
}

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
    int in = open_input(input);
    int out = open_output(output);
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
