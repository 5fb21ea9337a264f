#pragma once
#include <stdint.h>

// The fence over readline: function pointers, global variables and `FILE` streams, which Swift cannot use safely.
// Everything here is for one thread, and for one line editor in the process.

/// What readline calls back. `context` is `creadline_open`'s.
typedef struct {
    void *context;
    /// A line was accepted; null at end of file.
    void (*line)(void *context, const char *line);
    /// Fill the candidates for what stands before `point` in `line` with `creadline_add_candidate`, and return
    /// where the word that they replace begins. Offsets in bytes.
    int (*complete)(void *context, const char *line, int point);
    /// Show `count` candidates. Only called in screen mode.
    void (*show)(void *context, char *const *candidates, int count);
} creadline_handlers;

/// Starts readline: reads the user's inputrc, under `name` for its `$if` lines.
/// With `in_screen`, readline neither draws nor reads: bytes come by `creadline_feed`.
void creadline_open(const char *name, creadline_handlers handlers, int in_screen);
/// Begins a line with `prompt`, and with the text that `creadline_hide` has kept.
void creadline_begin(const char *prompt);

/// The prompt of the line at hand, and of those after it.
void creadline_set_prompt(const char *prompt);
/// Takes the line off the terminal, puts the terminal's modes back, and keeps the text for `creadline_begin`
/// (outside screen mode).
void creadline_hide(void);
/// Drops the line, puts the terminal's modes back, and ends the line on the terminal (outside screen mode).
void creadline_end(void);
/// Nonzero where readline has the terminal bracket what is pasted: one of the modes that have to be put back.
int creadline_pastes(void);
/// Reads what waits on standard input (outside screen mode).
void creadline_read(void);
/// Types `count` bytes (screen mode).
void creadline_feed(const uint8_t *bytes, int count);
/// Drops the line typed so far, and any search or argument, and begins again.
void creadline_clear(void);
/// Adds one candidate, inside `complete`.
void creadline_add_candidate(const char *candidate);
/// Inside `complete`: candidates are file names (a `/` after a directory, no blank after it).
void creadline_candidates_are_files(void);

/// The line typed so far.
const char *creadline_text(void);
/// The cursor in it, in bytes.
int creadline_point(void);
/// The prompt as readline has it now: another one during a search.
const char *creadline_prompt(void);
/// Nonzero in vi mode, where Escape is a key of the line editor's own.
int creadline_is_vi(void);

/// Keeps at most `count` lines.
void creadline_history_limit(int count);
void creadline_history_add(const char *line);
/// 0 or -errno.
int creadline_history_read(const char *path);
/// Adds the last `count` lines to the file and cuts it to `limit` lines. 0 or -errno.
int creadline_history_append(const char *path, int count, int limit);
