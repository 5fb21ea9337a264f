/* Linux calls that Swift cannot import: thin, no policy; failures are -errno. */
#pragma once

#include <stdint.h>

#include "CLinuxTrace.h"

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

/* gettid, asked once a thread. Not for a child that fork made. */
int clinux_this_thread(void);

/* tgkill: a signal for one thread of this process. 0, or -ESRCH where it has ended. */
int clinux_signal_thread(int thread, int signal);

/* The CPU that the calling thread runs on; another a moment later, perhaps. */
int clinux_cpu(void);

/* Moves the calling thread to another CPU than `cpu`, once: what it may run on stays as it was. */
int clinux_leave_cpu(int cpu);

/* Asks for the lines of memory that `size` bytes from `start` on lie in, to be written soon: they come while the
   thread does something else. Changes nothing. */
static inline void clinux_prefetch_for_write(const void *start, long size) {
    for (long i = 0; i < size; i += 64) __builtin_prefetch((const char *)start + i, 1, 3);
}

/* As clinux_prefetch_for_write, to be read. */
static inline void clinux_prefetch(const void *start, long size) {
    for (long i = 0; i < size; i += 64) __builtin_prefetch((const char *)start + i, 0, 3);
}

/* The instruction for a loop that waits on another processor. */
static inline void clinux_pause(void) { __builtin_ia32_pause(); }
