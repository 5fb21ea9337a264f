/// The text of F1.
enum Help {
    static let lines: [(key: String, text: String)] = [
        ("", "Everywhere"),
        ("F1", "this help"),
        ("F2", "focus the stack"),
        ("F3", "search the focused pane; the output if none is"),
        ("F4  Ctrl-O", "focus the next pane; Shift-F4 the one before"),
        ("F5", "continue"),
        ("F6", "set or delete a breakpoint at the code pane's cursor"),
        ("F7", "point the memory or code pane elsewhere: 0x7c00, ds:si, $rsp"),
        ("F8  F10", "next: step over calls, interrupts, loops"),
        ("F9  F11", "step one instruction; Shift-F11: finish, out of this code"),
        ("F12", "stop the guest"),
        ("Alt-Left", "the stop before (Alt-Right: after it; Esc: the present)"),
        ("Ctrl-C", "stop the guest; while it is stopped, drop the line; twice: quit"),
        ("Alt-l", "the next layout; `layout NAME` for one of them"),
        ("Alt-s", "write the screen as text to a file"),
        ("Ctrl-L", "draw all again"),
        ("Ctrl-Z", "suspend"),
        ("", ""),
        ("", "In the command line"),
        ("Tab", "complete commands, registers, files"),
        ("Up  Down", "history; Ctrl-R searches it"),
        ("Enter", "run; an empty line repeats the last command"),
        ("PgUp  PgDn", "scroll the output; Alt-z shows it on the whole screen"),
        ("", "`help` lists the commands, `help COMMAND` tells about one"),
        ("", ""),
        ("", "In a pane"),
        ("arrows", "move, scroll at the edge; PgUp, PgDn and the wheel scroll"),
        ("Enter", "type a register's or byte's new value, hex or an expression;"),
        ("", "break at a line, follow a stack slot"),
        ("Space", "flip a flag"),
        ("Esc  :", "back to the command line; Esc leaves an edit as it was"),
        ("letters", "go to the command line"),
        (".", "code back to the next instruction"),
        ("/  Alt-n", "search, again: bytes in Memory and Stack, instructions in Code,"),
        ("", "names and values in Registers and System; text upwards elsewhere"),
        ("[  ]", "the stop before, after; { } the oldest kept, the present"),
        ("1-9  0", "vCPUs, Registers, System, Code, Stack, Memory, Exits, Console,"),
        ("", "Output, Other vCPUs: shows and focuses that pane"),
        ("+  -", "more, fewer rows (Ctrl-Down, Ctrl-Up)"),
        (">  <", "wider, narrower (Ctrl-Right, Ctrl-Left)"),
        ("Alt-z", "the pane alone, and back"),
        ("mouse", "click a pane; most terminals select text with Shift held down,"),
        ("", "and all do after `set mouse off`"),
        ("Del Ins", "hide the pane; show all hidden ones"),
        ("=", "the layout as it was at the start"),
        ("Alt-r", "in Exits: count from zero; F6: sort by count, time or name"),
        ("Alt-c", "in Console: the guest's next console; while its screen is shown,"),
        ("", "keys go to the guest there, and F4 leaves"),
        ("", ""),
        ("", "Marks"),
        ("*", "changed since the last stop (and underlined for flags)"),
        ("=>", "the next instruction"),
        ("B  b", "a breakpoint, enabled or disabled"),
        ("[br=1]", "the branch will be taken; [br=0] will not"),
        ("??", "could not be read"),
    ]

    static func isHeading(_ line: (key: String, text: String)) -> Bool {
        line.key.isEmpty && line.text.first?.isUppercase == true && !line.text.contains(",")
    }

    /// Rows of text that fit.
    static func height(_ size: Size) -> Int { max(1, min(lines.count, size.height - 4)) }
}

extension Model {
    func drawHelp(_ brush: inout Brush) {
        let rows = Help.height(size)
        let columns = min(76, size.width)
        let area = Rect(
            x: (size.width - columns) / 2, y: max(0, (size.height - rows - 2) / 2), width: columns,
            height: rows + 2)
        brush.move(to: area)
        for y in 0..<area.height {
            brush.go(0, y)
            let isEdge = y == 0 || y == area.height - 1
            brush.put(scalar: y == 0 ? 0x250C : isEdge ? 0x2514 : 0x2502, .border)
            while brush.x < area.width - 1 { brush.put(scalar: isEdge ? 0x2500 : 0x20, .border) }
            brush.put(scalar: y == 0 ? 0x2510 : isEdge ? 0x2518 : 0x2502, .border)
        }
        brush.go(2, 0)
        brush.put(" Help ", .title)
        let last = helpScroll + rows
        brush.go(2, area.height - 1)
        brush.put(
            last < Help.lines.count
                ? " arrows scroll, any other key closes; \(Help.lines.count - last) more "
                : " any key closes ",
            .dim)
        brush.move(to: Rect(x: area.x + 1, y: area.y + 1, width: columns - 2, height: rows))
        for (row, line) in Help.lines.dropFirst(helpScroll).prefix(rows).enumerated() {
            brush.go(1, row)
            if Help.isHeading(line) {
                brush.put(line.text, .title)
            } else {
                brush.put(line.key, Look(.key, .bold))
                brush.go(13, row)
                brush.put(line.text)
            }
        }
        brush.setCursor(onScreen: nil)
    }
}
