#define _GNU_SOURCE
#define NCURSES_WIDECHAR 1
#include "Guard.h"

#include <errno.h>
#include <fcntl.h>
#include <ncursesw/curses.h>
#include <ncursesw/term.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <termios.h>
#include <unistd.h>

#include "CNcurses.h"

// What ends a process that has made no other arrangement, beside what a crash raises.
static const int ending_signals[] = {SIGUSR1, SIGUSR2,   SIGPIPE, SIGALRM, SIGVTALRM, SIGPROF,
                                     SIGXCPU, SIGXFSZ, SIGIO,   SIGPWR,  SIGSTKFLT};
enum { ENDING_COUNT = sizeof ending_signals / sizeof ending_signals[0] };

static int is_ending_ours[ENDING_COUNT];
static volatile sig_atomic_t is_armed;
static struct termios found_modes;
static char reset_bytes[512];
static size_t reset_count;
static int kept_error = -1;  // the terminal that standard error was
static int error_memory = -1; // where it goes meanwhile
static volatile sig_atomic_t is_line_armed; // readline has the terminal
static struct termios line_modes;
static int line_pastes;

static int collect(int byte)
{
    if (reset_count < sizeof reset_bytes)
        reset_bytes[reset_count++] = (char)byte;
    return byte;
}

static void collect_capability(const char *text)
{
    if (text && text != (char *)-1)
        tputs(text, 1, collect);
}

void cncurses_write_all(int descriptor, const char *bytes, size_t count)
{
    while (count > 0) {
        ssize_t written = write(descriptor, bytes, count);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return;
        bytes += written;
        count -= (size_t)written;
    }
}

// Async-signal-safe, as all it calls is.
static void show_kept_error(void)
{
    if (kept_error < 0)
        return;
    dup2(kept_error, STDERR_FILENO);
    close(kept_error);
    kept_error = -1;
    char bytes[1024];
    off_t at = 0;
    ssize_t count;
    while ((count = pread(error_memory, bytes, sizeof bytes, at)) > 0) {
        cncurses_write_all(STDERR_FILENO, bytes, (size_t)count);
        at += count;
    }
    close(error_memory);
    error_memory = -1;
}

// Async-signal-safe.
void cncurses_put_back(void)
{
    if (is_line_armed) {
        is_line_armed = 0;
        // As readline itself leaves: what follows begins on a line of its own.
        if (line_pastes)
            cncurses_write_all(STDOUT_FILENO, "\033[?2004l", 8);
        cncurses_write_all(STDOUT_FILENO, "\r\n", 2);
        tcsetattr(STDIN_FILENO, TCSANOW, &line_modes);
    }
    if (!is_armed)
        return;
    is_armed = 0;
    cncurses_write_all(STDOUT_FILENO, reset_bytes, reset_count);
    tcsetattr(STDOUT_FILENO, TCSANOW, &found_modes);
    show_kept_error();
}

// The signal ends the process as soon as the handler that calls this returns: it is blocked until then.
static void end_by(int signal_number)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigaction(signal_number, &action, NULL);
    raise(signal_number);
}

static void on_ending(int signal_number)
{
    cncurses_put_back();
    end_by(signal_number);
}

// Only where the signal would end the process: whoever has other plans for it keeps them.
static void watch_endings(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_ending;
    action.sa_flags = SA_ONSTACK;
    sigfillset(&action.sa_mask);
    for (int i = 0; i < ENDING_COUNT; i++) {
        struct sigaction earlier;
        is_ending_ours[i] = sigaction(ending_signals[i], NULL, &earlier) == 0
            && !(earlier.sa_flags & SA_SIGINFO) && earlier.sa_handler == SIG_DFL;
        if (is_ending_ours[i])
            sigaction(ending_signals[i], &action, NULL);
    }
}

static void unwatch_endings(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    for (int i = 0; i < ENDING_COUNT; i++)
        if (is_ending_ours[i])
            sigaction(ending_signals[i], &action, NULL);
}

static void take_error(void)
{
    if (!isatty(STDERR_FILENO))
        return;
    error_memory = memfd_create("kvmscope-stderr", MFD_CLOEXEC);
    if (error_memory < 0)
        return;
    kept_error = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    if (kept_error < 0) {
        close(error_memory);
        error_memory = -1;
        return;
    }
    dup2(error_memory, STDERR_FILENO);
}

static void put_back_at_exit(void)
{
    static int is_told;
    if (!is_told)
        atexit(cncurses_put_back);
    is_told = 1;
}

void cncurses_guard_line(int pastes)
{
    if (tcgetattr(STDIN_FILENO, &line_modes) < 0)
        return;
    line_pastes = pastes;
    put_back_at_exit();
    watch_endings();
    is_line_armed = 1;
}

void cncurses_unguard_line(void)
{
    if (!is_line_armed)
        return;
    is_line_armed = 0;
    unwatch_endings();
}

int cncurses_guard_arm(void)
{
    if (tcgetattr(STDOUT_FILENO, &found_modes) < 0)
        return -errno;
    reset_count = 0;
    collect_capability(tigetstr("sgr0"));
    collect_capability(tigetstr("rmkx"));
    collect_capability(tigetstr("cnorm"));
    if (key_mouse && strncmp(key_mouse, "\033[", 2) == 0)
        collect_capability("\033[?1006l\033[?1000l");
    const char *leave = tigetstr("rmcup");
    collect_capability(leave);
    // No alternate screen that would take all of it away.
    if (!leave || leave == (char *)-1)
        collect_capability(clear_screen);
    put_back_at_exit();
    watch_endings();
    take_error();
    is_armed = 1;
    return 0;
}

void cncurses_guard_disarm(void)
{
    if (!is_armed)
        return;
    is_armed = 0;
    unwatch_endings();
    tcsetattr(STDOUT_FILENO, TCSANOW, &found_modes);
    show_kept_error();
}

void cncurses_guard_pause(void)
{
    is_armed = 0;
    show_kept_error();
}

void cncurses_guard_resume(void)
{
    take_error();
    is_armed = 1;
}

// Signals as bytes in a pipe.

static int signal_pipe[2] = {-1, -1};
static struct sigaction earlier_watch[65];
static volatile sig_atomic_t is_watched[65];
static volatile sig_atomic_t is_waiting[65];

static void on_watched(int signal_number)
{
    int kept = errno;
    int ends = signal_number == SIGTERM || signal_number == SIGHUP || signal_number == SIGQUIT;
    if (ends && is_waiting[signal_number]) {
        cncurses_put_back();
        signal(signal_number, SIG_DFL);
        raise(signal_number);
        return;
    }
    is_waiting[signal_number] = 1;
    char byte = (char)signal_number;
    ssize_t ignored = write(signal_pipe[1], &byte, 1);
    (void)ignored;
    errno = kept;
}

int cncurses_signal_descriptor(void)
{
    if (signal_pipe[0] < 0 && pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) < 0)
        return -errno;
    return signal_pipe[0];
}

int cncurses_watch(int signal_number)
{
    if (signal_number <= 0 || signal_number > 64)
        return -EINVAL;
    int descriptor = cncurses_signal_descriptor();
    if (descriptor < 0)
        return descriptor;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_watched;
    action.sa_flags = SA_RESTART | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    is_waiting[signal_number] = 0;
    struct sigaction earlier;
    if (sigaction(signal_number, &action, &earlier) < 0)
        return -errno;
    if (!is_watched[signal_number])
        earlier_watch[signal_number] = earlier;
    is_watched[signal_number] = 1;
    // Some programs start others with all signals blocked; one that is watched has to arrive.
    sigset_t watched;
    sigemptyset(&watched);
    sigaddset(&watched, signal_number);
    return -pthread_sigmask(SIG_UNBLOCK, &watched, NULL);
}

void cncurses_unwatch(int signal_number)
{
    if (signal_number <= 0 || signal_number > 64 || !is_watched[signal_number])
        return;
    is_watched[signal_number] = 0;
    sigaction(signal_number, &earlier_watch[signal_number], NULL);
}

int cncurses_next_signal(void)
{
    unsigned char byte = 0;
    if (signal_pipe[0] < 0 || read(signal_pipe[0], &byte, 1) != 1)
        return 0;
    if (byte <= 64)
        is_waiting[byte] = 0;
    return byte;
}
