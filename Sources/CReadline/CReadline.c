#define _GNU_SOURCE
#include "CReadline.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <readline/history.h>
#include <readline/readline.h>

static creadline_handlers handlers;
static int is_in_screen;

static uint8_t queue[256];
static int queue_start, queue_end;

static char **candidates;
static int candidate_count, candidate_capacity;
static int candidate_next;

static void on_line(char *line)
{
    // Removed first: the prompt would be drawn again before the line has been acted upon.
    if (!is_in_screen)
        rl_callback_handler_remove();
    handlers.line(handlers.context, line);
    free(line);
}

static char *next_candidate(const char *text, int state)
{
    (void)text;
    if (state == 0)
        candidate_next = 0;
    // readline frees what it is given.
    return candidate_next < candidate_count ? strdup(candidates[candidate_next++]) : NULL;
}

static void drop_candidates(void)
{
    for (int i = 0; i < candidate_count; i++)
        free(candidates[i]);
    candidate_count = 0;
}

static int word_start;

// Called before readline looks for the word: finds out where it begins.
static char *word_breaks(void)
{
    drop_candidates();
    rl_filename_completion_desired = 0;
    word_start = handlers.complete(handlers.context, rl_line_buffer, rl_point);
    // Break at any byte that stands before the word and not in it; none when the word begins the line.
    static char breaks[2];
    breaks[0] = word_start > 0 ? rl_line_buffer[word_start - 1] : '\0';
    breaks[1] = '\0';
    return breaks;
}

static char **attempted(const char *text, int start, int end)
{
    (void)start;
    (void)end;
    rl_attempted_completion_over = 1;
    rl_completion_append_character = ' ';
    return rl_completion_matches(text, next_candidate);
}

static int are_files;

static void show(char **matches, int count, int longest)
{
    (void)longest;
    handlers.show(handlers.context, matches + 1, count);
}

static int is_waiting(void) { return queue_start < queue_end; }

static int next_byte(FILE *stream)
{
    (void)stream;
    // Not EOF, which would end the editor: nothing is asked for that was not fed, but for a key that never came.
    return is_waiting() ? queue[queue_start++] : 7; // C-g, abort
}

static void draw_nothing(void) {}
static void prepare_nothing(int meta) { (void)meta; }

void creadline_add_candidate(const char *candidate)
{
    if (candidate_count == candidate_capacity) {
        int capacity = candidate_capacity ? candidate_capacity * 2 : 64;
        char **grown = realloc(candidates, (size_t)capacity * sizeof *candidates);
        if (!grown)
            return;
        candidates = grown;
        candidate_capacity = capacity;
    }
    char *copy = strdup(candidate);
    if (copy)
        candidates[candidate_count++] = copy;
}

void creadline_candidates_are_files(void) { are_files = 1; }

static char **attempted_files(const char *text, int start, int end)
{
    char **matches = attempted(text, start, end);
    if (are_files)
        rl_filename_completion_desired = 1;
    are_files = 0;
    return matches;
}

void creadline_open(const char *name, creadline_handlers given, int in_screen)
{
    handlers = given;
    is_in_screen = in_screen;
    rl_readline_name = name;
    rl_change_environment = 0;
    rl_completion_word_break_hook = word_breaks;
    rl_completer_quote_characters = "";
    rl_basic_quote_characters = "";
    rl_attempted_completion_function = attempted_files;
    using_history();
    if (in_screen) {
        rl_catch_signals = 0;
        rl_catch_sigwinch = 0;
        rl_getc_function = next_byte;
        rl_input_available_hook = is_waiting;
        rl_redisplay_function = draw_nothing;
        rl_prep_term_function = prepare_nothing;
        rl_deprep_term_function = draw_nothing;
        rl_completion_display_matches_hook = show;
        // What readline would still write (a bell made visible, an echoed newline) must not reach the screen.
        FILE *nowhere = fopen("/dev/null", "we");
        if (nowhere)
            rl_outstream = nowhere;
    }
    rl_initialize();
    rl_bind_keyseq_if_unbound("\\e[3~", rl_delete);
    rl_bind_keyseq_if_unbound("\\e[1;5C", rl_forward_word);
    rl_bind_keyseq_if_unbound("\\e[1;5D", rl_backward_word);
}

static char *kept_text;
static int kept_point;

void creadline_begin(const char *prompt)
{
    rl_callback_handler_install(prompt, on_line);
    if (!kept_text)
        return;
    rl_insert_text(kept_text);
    rl_point = kept_point;
    rl_redisplay();
    free(kept_text);
    kept_text = NULL;
}

void creadline_set_prompt(const char *prompt)
{
    if (strcmp(prompt, rl_prompt ? rl_prompt : "") != 0)
        rl_set_prompt(prompt);
}

static void remove_line(void)
{
    rl_free_line_state();
    rl_callback_sigcleanup();
    rl_callback_handler_remove();
    fflush(rl_outstream);
}

void creadline_hide(void)
{
    free(kept_text);
    kept_text = rl_line_buffer && *rl_line_buffer ? strdup(rl_line_buffer) : NULL;
    kept_point = rl_point;
    rl_clear_visible_line();
    remove_line();
}

void creadline_end(void)
{
    rl_crlf();
    remove_line();
}

int creadline_pastes(void)
{
    const char *value = rl_variable_value("enable-bracketed-paste");
    return value && strcmp(value, "on") == 0;
}

void creadline_read(void) { rl_callback_read_char(); }

void creadline_feed(const uint8_t *bytes, int count)
{
    if (count > (int)sizeof queue)
        count = (int)sizeof queue;
    memcpy(queue, bytes, (size_t)count);
    queue_start = 0;
    queue_end = count;
    while (is_waiting())
        rl_callback_read_char();
}

void creadline_clear(void)
{
    rl_free_line_state();
    rl_callback_sigcleanup();
    rl_clear_message();
    rl_replace_line("", 1);
    rl_point = rl_mark = 0;
}

const char *creadline_text(void) { return rl_line_buffer ? rl_line_buffer : ""; }
int creadline_point(void) { return rl_point; }
const char *creadline_prompt(void) { return rl_display_prompt ? rl_display_prompt : ""; }
int creadline_is_vi(void) { return rl_editing_mode == 0; }

void creadline_history_limit(int count) { stifle_history(count); }
void creadline_history_add(const char *line) { add_history(line); }
int creadline_history_read(const char *path) { return -read_history(path); }

int creadline_history_append(const char *path, int count, int limit)
{
    int result = append_history(count, path);
    if (result == 0)
        result = history_truncate_file(path, limit);
    return -result;
}
