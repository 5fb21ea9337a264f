/* Linux calls that Swift cannot import: thin, no policy; failures are -errno. */
#pragma once

#include <stdint.h>
#include <time.h>

#include "CLinuxTrace.h"
#include "CLinuxWatch.h"

/* FUTEX_WAIT_PRIVATE on a word of this process, until it is woken, the word differs, or the time is over.
 * `timeout_ns` below 0 waits for ever. 0, or -EAGAIN, -EINTR, -ETIMEDOUT. */
int clinux_futex_wait(const void *word, uint32_t expected, int64_t timeout_ns);

/* FUTEX_WAKE_PRIVATE of all waiters: how many there were. */
int clinux_futex_wake(const void *word);

/* eventfd2 with EFD_CLOEXEC and EFD_NONBLOCK: a descriptor. */
int clinux_eventfd(void);

/* prctl PR_SET_NAME of the calling thread; 15 characters at most, more are cut. */
int clinux_name_thread(const char *name);

/* gettid. */
int clinux_thread_id(void);

/* timer_create on CLOCK_MONOTONIC, SIGEV_THREAD_ID: a timer that sends `signal` to `thread`, of this process. */
int clinux_thread_timer(int thread, int signal, timer_t *timer);

/* timer_settime: at `time`, in nanoseconds of CLOCK_MONOTONIC, and each `interval` nanoseconds after it; 0 is never. */
int clinux_set_timer(timer_t timer, uint64_t time, uint64_t interval);

/* Opens /dev/null as standard input, output and error where those are closed. First of all: what is opened before gets
 * their numbers. */
void clinux_fill_standard_descriptors(void);

/* The CPU that the calling thread runs on; another a moment later, perhaps. */
int clinux_cpu(void);

/* Moves the calling thread to another CPU than `cpu`, once: what it may run on stays as it was. */
int clinux_leave_cpu(int cpu);

/* The instruction for a loop that waits on another processor. */
static inline void clinux_pause(void) { __builtin_ia32_pause(); }

#include "CLinuxShell.h"
#include "CLinuxSockets.h"
