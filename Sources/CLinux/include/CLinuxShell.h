#pragma once

// The fence for a line that a user gives to the shell. Every call returns its result or -errno. No policy.

// Starts `/bin/sh -c line` in a process group of its own, with nothing of ours open but these two: its standard input, or
// -1 for /dev/null, and its standard output and error. Signals have their default actions, and none is blocked. The pid.
int clinux_spawn_shell(const char *line, int input, int output);

// A pipe whose ends are closed on exec; the end `ours` (0 reads, 1 writes) never blocks, the other one is a child's.
int clinux_pipe(int ends[2], int ours);

// Whether a child has ended: 1, with `status` as waitpid(2) gives it, or 0.
int clinux_reap_if_ended(int process, int *status);

// A signal to all of a process group.
int clinux_signal_group(int group, int signal);
