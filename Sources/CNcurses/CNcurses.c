#define _GNU_SOURCE
#define NCURSES_WIDECHAR 1
#include "CNcurses.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <ncursesw/curses.h>
#include <ncursesw/term.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "Guard.h"

static SCREEN *screen;
static int is_unicode;
static int colours;

// Where xterm and its like have Ctrl with an arrow, which terminfo has no standard names for.
enum { CONTROL_UP = KEY_MAX + 1, CONTROL_DOWN, CONTROL_LEFT, CONTROL_RIGHT, ALT_LEFT, ALT_RIGHT };

// What xterm and its like send, wherever the terminal's description does not say otherwise: descriptions are
// often older than the terminal (TERM=vt100), and none has Ctrl with an arrow.
static void define_keys(void)
{
    static const struct {
        const char *sequence;
        int code;
    } keys[] = {
        {"\033[1;5A", CONTROL_UP}, {"\033[1;5B", CONTROL_DOWN}, {"\033[1;5D", CONTROL_LEFT},
        {"\033[1;5C", CONTROL_RIGHT}, {"\033[1;3D", ALT_LEFT}, {"\033[1;3C", ALT_RIGHT},
        {"\033[A", KEY_UP}, {"\033[B", KEY_DOWN}, {"\033[C", KEY_RIGHT},
        {"\033[D", KEY_LEFT}, {"\033OA", KEY_UP}, {"\033OB", KEY_DOWN}, {"\033OC", KEY_RIGHT},
        {"\033OD", KEY_LEFT}, {"\033[H", KEY_HOME}, {"\033[F", KEY_END}, {"\033OH", KEY_HOME},
        {"\033OF", KEY_END}, {"\033[1~", KEY_HOME}, {"\033[4~", KEY_END}, {"\033[2~", KEY_IC},
        {"\033[3~", KEY_DC}, {"\033[5~", KEY_PPAGE}, {"\033[6~", KEY_NPAGE}, {"\033[Z", KEY_BTAB},
        {"\033OP", KEY_F(1)}, {"\033OQ", KEY_F(2)}, {"\033OR", KEY_F(3)}, {"\033OS", KEY_F(4)},
        {"\033[15~", KEY_F(5)}, {"\033[17~", KEY_F(6)}, {"\033[18~", KEY_F(7)}, {"\033[19~", KEY_F(8)},
        {"\033[20~", KEY_F(9)}, {"\033[21~", KEY_F(10)}, {"\033[23~", KEY_F(11)}, {"\033[24~", KEY_F(12)},
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        // Descriptions with names of their own for these give them codes that only they know.
        if (keys[i].code > KEY_MAX || key_defined(keys[i].sequence) == 0)
            define_key(keys[i].sequence, keys[i].code);
}

int cncurses_open(int wants_colours)
{
    if (screen)
        return 0;
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return -ENOTTY;
    setlocale(LC_ALL, "");
    is_unicode = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    int found = 0;
    if (setupterm(NULL, STDOUT_FILENO, &found) != OK)
        return -ENOENT;
    if (!cursor_address || !clear_screen)
        return -EOPNOTSUPP;
    int result = cncurses_guard_arm();
    if (result < 0)
        return result;
    ESCDELAY = 25;
    screen = newterm(NULL, stdout, stdin);
    if (!screen) {
        cncurses_guard_disarm();
        return -EOPNOTSUPP;
    }
    raw();
    noecho();
    nonl();
    // With nonl the kernel has nothing to do to what is sent, but would still look at each byte for it.
    struct termios modes;
    if (tcgetattr(STDOUT_FILENO, &modes) == 0) {
        modes.c_oflag &= ~(tcflag_t)OPOST;
        tcsetattr(STDOUT_FILENO, TCSADRAIN, &modes);
        def_prog_mode();
    }
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    leaveok(stdscr, FALSE);
    scrollok(stdscr, FALSE);
    define_keys();
    mouseinterval(0);
    mousemask(BUTTON1_PRESSED | BUTTON4_PRESSED | BUTTON5_PRESSED, NULL);
    colours = 0;
    const char *no_color = getenv("NO_COLOR");
    if (wants_colours && has_colors() && !(no_color && *no_color)) {
        start_color();
        use_default_colors();
        colours = COLORS;
    }
    return 0;
}

void cncurses_close(void)
{
    if (!screen)
        return;
    mousemask(0, NULL);
    if (!enter_ca_mode) {
        // No alternate screen that would take all of this away.
        erase();
        refresh();
    }
    endwin();
    delscreen(screen);
    screen = NULL;
    cncurses_guard_disarm();
}

void cncurses_resize(void)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0)
        resizeterm(size.ws_row, size.ws_col);
}

void cncurses_forget(void) { clearok(curscr, TRUE); }
int cncurses_columns(void) { return COLS; }
int cncurses_rows(void) { return LINES; }
int cncurses_colours(void) { return colours; }

void cncurses_pair(int pair, int foreground, int background)
{
    if (pair > 0 && pair < 64)
        init_pair((short)pair, (short)foreground, (short)background);
}

void cncurses_mouse(int on)
{
    mousemask(on ? BUTTON1_PRESSED | BUTTON4_PRESSED | BUTTON5_PRESSED : 0, NULL);
}

void cncurses_unget(uint8_t byte) { ungetch(byte); }

static const cchar_t *line_drawing(uint32_t scalar)
{
    switch (scalar) {
    case 0x2500: return WACS_HLINE;
    case 0x2502: return WACS_VLINE;
    case 0x250C: return WACS_ULCORNER;
    case 0x2510: return WACS_URCORNER;
    case 0x2514: return WACS_LLCORNER;
    case 0x2518: return WACS_LRCORNER;
    case 0x251C: return WACS_LTEE;
    case 0x2524: return WACS_RTEE;
    case 0x252C: return WACS_TTEE;
    case 0x2534: return WACS_BTEE;
    case 0x253C: return WACS_PLUS;
    case 0x2192: return WACS_RARROW;
    default: return NULL;
    }
}

void cncurses_put(int row, int column, const uint32_t *scalars, int count, unsigned attributes, int pair)
{
    attr_t attr = A_NORMAL;
    if (attributes & CNCURSES_BOLD)
        attr |= A_BOLD;
    if (attributes & CNCURSES_UNDERLINE)
        attr |= A_UNDERLINE;
    if (attributes & CNCURSES_REVERSE)
        attr |= A_REVERSE;
    if (attributes & CNCURSES_DIM)
        attr |= A_DIM;
    cchar_t cells[128], ascii;
    // Whatever the look, ASCII differs in its character only: the rest is put together once.
    setcchar(&ascii, L" ", attr, (short)pair, NULL);
    int used = 0, at = column;
    for (int i = 0; i < count; i++) {
        if (scalars[i] == 0)
            continue;
        if (scalars[i] >= 0x20 && scalars[i] <= 0x7E) {
            cells[used] = ascii;
            cells[used].chars[0] = (wchar_t)scalars[i];
            used++;
            if (used == 128) {
                mvadd_wchnstr(row, at, cells, used);
                at = column + i + 1;
                used = 0;
            }
            continue;
        }
        wchar_t text[2] = {(wchar_t)scalars[i], 0};
        const cchar_t *line = is_unicode ? NULL : line_drawing(scalars[i]);
        if (line) {
            // The pair and the attributes of ours beside the alternate character set's bit.
            wchar_t drawn[CCHARW_MAX + 1];
            attr_t drawn_attr;
            short drawn_pair;
            getcchar(line, drawn, &drawn_attr, &drawn_pair, NULL);
            setcchar(&cells[used], drawn, drawn_attr | attr, (short)pair, NULL);
        } else {
            // What stands where text is cut has to be there on every terminal.
            if (!is_unicode && scalars[i] > 0x7E)
                text[0] = scalars[i] == 0x2026 ? L'>' : L'?';
            setcchar(&cells[used], text, attr, (short)pair, NULL);
        }
        used++;
        if (used == 128) {
            mvadd_wchnstr(row, at, cells, used);
            at = column + i + 1;
            used = 0;
        }
    }
    if (used > 0)
        mvadd_wchnstr(row, at, cells, used);
}

void cncurses_cursor(int row, int column)
{
    if (column < 0) {
        curs_set(0);
        return;
    }
    move(row, column);
    curs_set(1);
}

void cncurses_flush(void) { refresh(); }

static uint32_t key_of(wint_t code)
{
    if (code > KEY_F0 && code <= KEY_F0 + 63)
        return CNCURSES_F0 + (code - KEY_F0);
    switch (code) {
    case KEY_UP: return CNCURSES_UP;
    case KEY_DOWN: return CNCURSES_DOWN;
    case KEY_LEFT: return CNCURSES_LEFT;
    case KEY_RIGHT: return CNCURSES_RIGHT;
    case KEY_HOME:
    case KEY_FIND: return CNCURSES_HOME;
    case KEY_END:
    case KEY_SELECT: return CNCURSES_END;
    case KEY_PPAGE: return CNCURSES_PAGE_UP;
    case KEY_NPAGE: return CNCURSES_PAGE_DOWN;
    case KEY_IC: return CNCURSES_INSERT;
    case KEY_DC: return CNCURSES_DELETE;
    case KEY_BACKSPACE: return CNCURSES_BACKSPACE;
    case KEY_ENTER: return CNCURSES_ENTER;
    case KEY_BTAB: return CNCURSES_BACK_TAB;
    case CONTROL_UP: return CNCURSES_CONTROL_UP;
    case CONTROL_DOWN: return CNCURSES_CONTROL_DOWN;
    case CONTROL_LEFT: return CNCURSES_CONTROL_LEFT;
    case CONTROL_RIGHT: return CNCURSES_CONTROL_RIGHT;
    case ALT_LEFT: return CNCURSES_ALT_LEFT;
    case ALT_RIGHT: return CNCURSES_ALT_RIGHT;
    default: return 0;
    }
}

cncurses_input cncurses_get(void)
{
    cncurses_input input = {CNCURSES_NONE, 0, 0, 0};
    for (;;) {
        wint_t code = 0;
        errno = 0;
        int result = get_wch(&code);
        if (result == ERR) {
            if (errno == EIO)
                input.kind = CNCURSES_LOST;
            return input;
        }
        if (result == OK) {
            input.kind = CNCURSES_CHARACTER;
            input.value = (uint32_t)code;
            return input;
        }
        if (code == KEY_MOUSE) {
            MEVENT event;
            if (getmouse(&event) != OK)
                continue;
            input.kind = CNCURSES_MOUSE;
            input.column = event.x;
            input.row = event.y;
            if (event.bstate & BUTTON4_PRESSED)
                input.value = CNCURSES_WHEEL_UP;
            else if (event.bstate & BUTTON5_PRESSED)
                input.value = CNCURSES_WHEEL_DOWN;
            else if (event.bstate & BUTTON1_PRESSED)
                input.value = CNCURSES_PRESS;
            else
                continue;
            return input;
        }
        uint32_t key = key_of(code);
        if (key == 0)
            continue;
        input.kind = CNCURSES_KEY;
        input.value = key;
        return input;
    }
}

void cncurses_suspend(void)
{
    if (!screen)
        return;
    endwin();
    cncurses_guard_pause();
    // Not SIGTSTP, which ncurses catches: its handler would draw before the new size is known.
    kill(0, SIGSTOP);
    cncurses_guard_resume();
    cncurses_resize();
    clearok(curscr, TRUE);
    refresh();
}
