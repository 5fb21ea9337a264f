#pragma once
#include <stdint.h>

// The fence over ncurses: what Swift cannot import (variadic calls, macros, `cchar_t`), and what must not run
// Swift code: putting the terminal back when the process dies.

/// Attributes of `cncurses_put`.
enum {
    CNCURSES_BOLD = 1,
    CNCURSES_UNDERLINE = 2,
    CNCURSES_REVERSE = 4,
    CNCURSES_DIM = 8,
};

/// What `cncurses_get` found.
enum {
    CNCURSES_NONE = 0,
    CNCURSES_CHARACTER = 1,
    CNCURSES_KEY = 2,
    CNCURSES_MOUSE = 3,
    /// Nothing can be read any more: read(2) fails with EIO.
    CNCURSES_LOST = 4,
};

/// Keys that are not characters. F1 is CNCURSES_F0 + 1; shifted ones go on from F13, as xterm has them.
enum {
    CNCURSES_UP = 1,
    CNCURSES_DOWN,
    CNCURSES_LEFT,
    CNCURSES_RIGHT,
    CNCURSES_HOME,
    CNCURSES_END,
    CNCURSES_PAGE_UP,
    CNCURSES_PAGE_DOWN,
    CNCURSES_INSERT,
    CNCURSES_DELETE,
    CNCURSES_BACKSPACE,
    CNCURSES_ENTER,
    CNCURSES_BACK_TAB,
    CNCURSES_CONTROL_UP,
    CNCURSES_CONTROL_DOWN,
    CNCURSES_CONTROL_LEFT,
    CNCURSES_CONTROL_RIGHT,
    CNCURSES_ALT_LEFT,
    CNCURSES_ALT_RIGHT,
    CNCURSES_F0 = 100,
};

/// Mouse actions.
enum {
    CNCURSES_PRESS = 1,
    CNCURSES_WHEEL_UP = 2,
    CNCURSES_WHEEL_DOWN = 3,
};

typedef struct {
    int kind;
    /// The scalar, the key, or the mouse action.
    uint32_t value;
    int column;
    int row;
} cncurses_input;

/// Opens the screen on standard input and output. 0, or: -ENOTTY, no terminal there; -ENOENT, TERM is unset or
/// unknown; -EOPNOTSUPP, the terminal cannot move its cursor. Without `colours`, and with NO_COLOR in the
/// environment, no colour is used.
int cncurses_open(int colours);
/// Leaves the screen; the terminal is as `cncurses_open` found it. Does nothing when it is not open.
void cncurses_close(void);
/// Takes the size that the kernel says the terminal has now.
void cncurses_resize(void);
/// Forgets what the terminal shows, so that the next flush draws all of it.
void cncurses_forget(void);
int cncurses_columns(void);
int cncurses_rows(void);
/// The colours that the terminal has, 0 for none; `cncurses_open` has started them.
int cncurses_colours(void);
/// Pair 1 to 63; -1 is the terminal's own colour.
void cncurses_pair(int pair, int foreground, int background);
/// The terminal reports the mouse's wheel and presses, or keeps the mouse.
void cncurses_mouse(int on);
/// Puts a byte in front of what waits to be read.
void cncurses_unget(uint8_t byte);
/// Puts `count` scalars; a 0 is the second half of the wide one before it.
void cncurses_put(int row, int column, const uint32_t *scalars, int count, unsigned attributes, int pair);
/// A negative column hides the cursor.
void cncurses_cursor(int row, int column);
void cncurses_flush(void);
/// The next input that waits; never blocks.
cncurses_input cncurses_get(void);
/// Stops the process as Ctrl-Z does, and comes back when it is continued.
void cncurses_suspend(void);

/// From here on SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT and SIGSYS put the terminal back, write a backtrace to
/// a new file in `folder`, say so in one line on standard error, and end the process, whoever raised them.
void cncurses_catch_crashes(const char *folder);
/// They end the process and do nothing else: for one that another one watches.
void cncurses_leave_crashes(void);
/// The line editor takes the terminal: however the process ends, its modes are put back as they are now, and, with
/// `pastes`, pasted text is not bracketed any more.
void cncurses_guard_line(int pastes);
/// The line editor has given the terminal back.
void cncurses_unguard_line(void);
/// Makes `signal` write its number into a pipe. 0 or -errno. A second SIGTERM, SIGHUP or SIGQUIT that comes
/// while the first one waits unread ends the process at once, with the terminal put back.
int cncurses_watch(int signal);
/// Gives `signal` the action it had before `cncurses_watch`.
void cncurses_unwatch(int signal);
/// The pipe's reading end, or -errno.
int cncurses_signal_descriptor(void);
/// The next signal that waits, or 0.
int cncurses_next_signal(void);
