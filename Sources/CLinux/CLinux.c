#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int result(long value) { return value < 0 ? -errno : (int)value; }

int clinux_futex_wait(const void *word, uint32_t expected, int64_t timeout_ns) {
    struct timespec timeout = {timeout_ns / 1000000000, timeout_ns % 1000000000};
    return result(syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, timeout_ns < 0 ? NULL : &timeout));
}

int clinux_futex_wake(const void *word) {
    return result(syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX));
}

int clinux_eventfd(void) { return result(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

int clinux_thread_id(void) { return gettid(); }

void clinux_fill_standard_descriptors(void) {
    for (int number = 0; number <= 2; number++) {
        if (fcntl(number, F_GETFD) >= 0 || errno != EBADF) continue;
        // The lowest that is free: this one, as those below are open.
        int opened = open("/dev/null", number == 0 ? O_RDONLY : O_WRONLY);
        // Without /dev/null nothing that is opened later may get the number either: any descriptor will do.
        if (opened < 0) opened = eventfd(0, 0);
        (void)opened;
    }
}

int clinux_cpu(void) { return sched_getcpu(); }

int clinux_leave_cpu(int cpu) {
    cpu_set_t all, others;
    if (sched_getaffinity(0, sizeof all, &all) < 0) return -errno;
    others = all;
    CPU_CLR(cpu, &others);
    if (CPU_COUNT(&others) == 0) return -ENODEV;
    if (sched_setaffinity(0, sizeof others, &others) < 0) return -errno;
    return result(sched_setaffinity(0, sizeof all, &all));
}

int clinux_thread_timer(int thread, int signal, timer_t *timer) {
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = signal};
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif
    event.sigev_notify_thread_id = thread;
    return result(timer_create(CLOCK_MONOTONIC, &event, timer));
}

int clinux_set_timer(timer_t timer, uint64_t time, uint64_t interval) {
    struct itimerspec value = {
        .it_interval = {(time_t)(interval / 1000000000), (long)(interval % 1000000000)},
        .it_value = {(time_t)(time / 1000000000), (long)(time % 1000000000)},
    };
    return result(timer_settime(timer, TIMER_ABSTIME, &value, NULL));
}

int clinux_name_thread(const char *name) { return result(prctl(PR_SET_NAME, name)); }
