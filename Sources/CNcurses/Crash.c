#define _GNU_SOURCE
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "CNcurses.h"
#include "Guard.h"

// What happens when the program crashes: the terminal is put back, the backtrace goes to a file, one line says so, and
// the signal ends the process. Not the report of Swift's runtime: that takes seconds, in which an attached guest would
// stay as it is, fills the terminal, and asks on it whether to look closer.

static const int fatal_signals[] = {SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGSEGV, SIGFPE, SIGSYS};
enum { FATAL_COUNT = sizeof fatal_signals / sizeof fatal_signals[0], FRAME_COUNT = 128 };

static char alternate_stack[128 * 1024];
static char folder[512];

// Text put together without what a signal handler may not call.
struct text {
    char bytes[1024];
    size_t count;
};

static void add(struct text *text, const char *more)
{
    while (*more && text->count < sizeof text->bytes)
        text->bytes[text->count++] = *more++;
}

static void add_number(struct text *text, uint64_t number, unsigned base)
{
    char digits[24];
    int at = sizeof digits - 1;
    digits[at] = 0;
    do {
        digits[--at] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number > 0);
    add(text, digits + at);
}

static void add_what_happened(struct text *text, int signal_number, const siginfo_t *information)
{
    const char *name = sigabbrev_np(signal_number);
    add(text, "SIG");
    add(text, name ? name : "?");
    if (information->si_code == SI_USER || information->si_code == SI_TKILL || information->si_code == SI_QUEUE) {
        if (information->si_pid == getpid())
            return add(text, ", raised by itself");
        add(text, ", sent by process ");
        return add_number(text, (uint64_t)information->si_pid, 10);
    }
    add(text, " at address 0x");
    add_number(text, (uint64_t)(uintptr_t)information->si_addr, 16);
}

// The report's descriptor, its path in `path`; negative where none can be made.
static int make_report(struct text *path)
{
    for (int attempt = 0; attempt < 10; attempt++) {
        path->count = 0;
        add(path, folder);
        add(path, "/kvmscope-crash-");
        add_number(path, (uint64_t)getpid(), 10);
        if (attempt > 0) {
            add(path, "-");
            add_number(path, (uint64_t)attempt, 10);
        }
        add(path, ".txt");
        if (path->count == sizeof path->bytes)
            return -1;
        path->bytes[path->count] = 0;
        // One of ours alone: the folder may be everybody's.
        int file = open(path->bytes, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (file >= 0 || errno != EEXIST)
            return file;
    }
    return -1;
}

static void on_fatal(int signal_number, siginfo_t *information, void *context)
{
    (void)context;
    // A fault in what follows ends the process at once.
    struct sigaction action = {.sa_handler = SIG_DFL};
    for (int i = 0; i < FATAL_COUNT; i++)
        sigaction(fatal_signals[i], &action, NULL);
    sigset_t ours;
    sigemptyset(&ours);
    for (int i = 0; i < FATAL_COUNT; i++)
        if (fatal_signals[i] != signal_number)
            sigaddset(&ours, fatal_signals[i]);
    pthread_sigmask(SIG_UNBLOCK, &ours, NULL);

    cncurses_put_back();
    struct text path = {.count = 0}, line = {.count = 0};
    add(&line, "kvmscope: crashed: ");
    add_what_happened(&line, signal_number, information);
    int file = make_report(&path);
    if (file >= 0) {
        cncurses_write_all(file, line.bytes, line.count);
        cncurses_write_all(file, "\n", 1);
        void *frames[FRAME_COUNT];
        backtrace_symbols_fd(frames, backtrace(frames, FRAME_COUNT), file);
        close(file);
        add(&line, "; its backtrace is in ");
        add(&line, path.bytes);
    } else {
        add(&line, "; its backtrace could not be written to ");
        add(&line, folder);
    }
    add(&line, "\n");
    cncurses_write_all(STDERR_FILENO, line.bytes, line.count);
    raise(signal_number);
    // It ends the process as soon as this returns: until then it is blocked.
}

void cncurses_catch_crashes(const char *reports)
{
    strncpy(folder, reports, sizeof folder - 1);
    // The first call loads what it needs, which a handler may not do.
    void *frame;
    backtrace(&frame, 1);
    stack_t stack = {.ss_sp = alternate_stack, .ss_size = sizeof alternate_stack};
    sigaltstack(&stack, NULL);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_fatal;
    action.sa_flags = SA_ONSTACK | SA_SIGINFO;
    sigfillset(&action.sa_mask);
    // Some programs start others with all signals blocked.
    sigset_t caught;
    sigemptyset(&caught);
    for (int i = 0; i < FATAL_COUNT; i++) {
        sigaction(fatal_signals[i], &action, NULL);
        sigaddset(&caught, fatal_signals[i]);
    }
    pthread_sigmask(SIG_UNBLOCK, &caught, NULL);
}

void cncurses_leave_crashes(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    for (int i = 0; i < FATAL_COUNT; i++)
        sigaction(fatal_signals[i], &action, NULL);
}
