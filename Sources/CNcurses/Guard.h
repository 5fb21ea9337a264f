#pragma once
#include <signal.h>
#include <stddef.h>

// Puts the terminal back when the process dies, from a signal handler.

/// Keeps the terminal's modes and prepares the bytes that reset it; after `setupterm`, before `newterm`.
/// Standard error, where it is a terminal, goes into memory until disarmed. 0 or -errno.
int cncurses_guard_arm(void);
/// The screen was left in order; what went to standard error meanwhile is shown.
void cncurses_guard_disarm(void);
/// Puts the terminal back, whether the screen or the line editor has it. Async-signal-safe.
void cncurses_put_back(void);
/// Async-signal-safe.
void cncurses_write_all(int descriptor, const char *bytes, size_t count);
/// The screen is left for a while (Ctrl-Z), and taken again.
void cncurses_guard_pause(void);
void cncurses_guard_resume(void);
