#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
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

int clinux_name_thread(const char *name) { return result(prctl(PR_SET_NAME, name)); }
