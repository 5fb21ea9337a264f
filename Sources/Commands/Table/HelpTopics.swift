/// Help about a subject, where no single command is the answer.
struct HelpTopic: Sendable {
    var name: String
    /// Other words that people type for it.
    var aliases: [String]
    /// One line without a full stop.
    var summary: String
    var paragraphs: [String]
    var examples: [Command.Example]
    /// The commands to read on with, by their names.
    var commands: [String]

    /// The topic of this name, or of another word for it.
    static func named(_ word: String) -> HelpTopic? {
        all.first { $0.name == word || $0.aliases.contains(word) }
    }

    static let all: [HelpTopic] = [stepping, addresses, breakpoints, attach, scripts, bochs, gdb]

    private static let stepping = HelpTopic(
        name: "stepping", aliases: ["steps", "single-step", "singlestep"],
        summary: "one instruction, one line, one routine, or to an address",
        paragraphs: [
            "`step` does one instruction of the selected vCPU and enters calls and interrupts. `next` does a CALL, INT, REP, LOOP or HLT as one. `finish` runs until this code returns, `until` leaves a loop, `advance` runs to an address. A breakpoint on the way stops the guest there.",
            "Interrupts are held off while stepping where the host can do that, so that a step does not end in the handler of a timer: `set step-interrupts on` takes them.",
            "Enter repeats the last step. `revisit` looks at an earlier stop; the guest stays where it is.",
        ],
        examples: [
            .init("step", "one instruction"), .init("step 1000", "a thousand, then stop"),
            .init("step until $cx == 0", "as many as that takes"),
            .init("step all 10", "ten instructions of each vCPU"), .init("next", "over a call or interrupt"),
            .init("step-until int", "to the next INT"), .init("advance 0x7c20", "to an address"),
        ],
        commands: [
            "step", "next", "finish", "until", "advance", "step-until", "set step-interrupts", "set trace",
            "revisit",
        ])

    private static let addresses = HelpTopic(
        name: "addresses", aliases: ["address", "expressions", "expression", "numbers", "memory"],
        summary: "how memory is named: linear, SEG:OFF, physical, by symbol",
        paragraphs: [
            "A number is a linear address: what segmentation gives and paging takes. `07c0:0010` is SEG:OFF: segment times 16 in real mode, the descriptor's base in protected mode. `p:ADDR` is physical, past paging; `v:ADDR` says that it is not.",
            "Wherever an address can stand, an expression can: registers with or without `$`, symbols, FILE:LINE, C's operators and casts. `*(u16*)ADDR` and `w:ADDR` are what is in memory there.",
            "`7c00`, which can be nothing else, is hexadecimal as an address; `100` is decimal, as in every expression, and `0x100` is not.",
        ],
        examples: [
            .init("x/16xb 0x7c00", "a linear address"), .init("x/2s 07c0:0080", "SEG:OFF"),
            .init("x/8xh $ss:$sp", "the stack, by its segment"), .init("xp/4xg 0x1000", "physical memory"),
            .init("break $rip + 5", "an expression"), .init("print/x *(u16*)0x7dfe", "a word of memory"),
            .init("page 0xffff800000000000", "how paging translates one"),
        ],
        commands: ["x", "xp", "print", "page", "gva2gpa", "p2v", "gpa2hva", "symbols", "info symbol"])

    private static let breakpoints = HelpTopic(
        name: "breakpoints", aliases: ["breakpoint", "watchpoints", "watchpoint", "catchpoints", "events"],
        summary: "stops at code, at accesses to memory, and at events",
        paragraphs: [
            "`break` stops before an instruction; any number can be set. How each is done is chosen when it is set, and shown: a debug register, a patch in the code, or single steps. `hbreak` takes a debug register or fails. `tbreak` stops once. `pb` is for a physical address, `vb` for a CS and IP.",
            "`watch` stops after an access to memory, of any length. `catch` stops at events: port I/O, MMIO, exits, interrupts, exceptions, mode switches, MSRs, control registers, HLT, triple faults.",
            "Each takes `if EXPR`; `condition`, `ignore` and `commands` change it later, by its number. `info breakpoints` lists all of them with their hits, and which are slow.",
        ],
        examples: [
            .init("break 0x7c00", "at a linear address"), .init("break 0:61f if $cx == 0", "on a condition"),
            .init("watch rw 0x9000 16", "reads and writes of 16 bytes"), .init("catch mode", "mode switches"),
            .init("catch io 0x3f8", "a port"), .init("commands 1 regs; continue", "a trace"),
            .init("delete 1", "by number; all without one"),
        ],
        commands: [
            "break", "hbreak", "tbreak", "pb", "vb", "watch", "catch io", "info breakpoints", "condition",
            "ignore", "commands", "delete", "set magic-break",
        ])

    private static let attach = HelpTopic(
        name: "attach", aliases: ["attaching", "launch", "qemu"],
        summary: "guests that another program runs",
        paragraphs: [
            "`kvmscope list` in a shell lists the KVM guests of the host; `kvmscope attach NAME-OR-PID` debugs one, and `kvmscope launch -- VMM ARGUMENTS` starts one that is stopped at its first instruction. A session has one guest from its start to its end: to attach, quit and start another.",
            "A guest that was attached to runs on at first, and its registers are those of each vCPU's last exit. `stop` stops all vCPUs, then every command works; `continue` resumes them. `info sources` says where each value comes from and how old it is.",
            "`detach` and `quit` put everything back, and the guest runs on; `quit` ends a VMM that was launched.",
        ],
        examples: [
            .init("stop", "all vCPUs"), .init("continue", "they run again"),
            .init("info sources", "where values come from"), .init("detach", "and leave it running"),
        ],
        commands: ["stop", "continue", "detach", "info sources", "info host", "quit"])

    private static let bochs = HelpTopic(
        name: "bochs", aliases: ["bochsdbg"],
        summary: "what users of Bochs' debugger find, and what is otherwise here",
        paragraphs: [
            "`s`, `n`, `c`, `sreg`, `creg`, `dreg`, `fpu`, `x /10bx`, `xp`, `u`, `lb`, `vb`, `pb`, `blist`, `bpe`, `bpd`, `d`, `modebp`, `print-stack`, `watch r|w ADDR`, `unwatch`, `info idt|gdt|ldt|tss|ivt`, `page`, `crc`, `writemem`, `setpmem` and `trace on` are as there.",
            "`r` is `run` here, as in GDB, and starts the guest from the beginning: `regs` shows registers. `p` prints an expression, as in GDB: `n` goes over a call. `set $eax = 1` or `set eax 1` sets a register. What `trace on` keeps is in `info blackbox`.",
            "Numbers are decimal where they have no `0x`, but for addresses that can be nothing else than hexadecimal, as `7c00`. A stop is before the instruction, as there; after a watchpoint or the magic breakpoint it is after it.",
        ],
        examples: [
            .init("regs", "all registers"), .init("lb 0x7c00", "a linear breakpoint"),
            .init("vb 0x08:0x1d", "by selector and offset"), .init("set magic-break on", "xchg bx, bx stops"),
            .init("x /10bx 0x7c00", "bytes"), .init("info blackbox 20", "the last instructions"),
        ],
        commands: [
            "regs", "sregs", "step", "next", "lb", "vb", "pb", "watch", "set trace", "info blackbox",
            "set magic-break",
        ])

    private static let gdb = HelpTopic(
        name: "gdb", aliases: ["differences"],
        summary: "what users of GDB find, and what is otherwise here",
        paragraphs: [
            "Commands that are called as in GDB do what they do there: `b`, `tb`, `watch`, `c`, `si`, `ni`, `finish`, `until`, `x/4i $pc`, `p/x`, `display`, `bt`, `info registers`, `run`, `layout`, `define`. A table of the differences is in the manual, FromGDB.",
            "`$pc` is where the next instruction is, by CS and the instruction pointer. Reads are watched by `watch r ADDR`, reads and writes by `watch rw ADDR`; `undisplay` ends displays, `print-stack` and `telescope` show the stack. Types are C's integers.",
            "GDB itself can debug this guest: `gdbserver :1234` here, its target is remote, at that port.",
        ],
        examples: [
            .init("x/4i $pc", "the next instructions"), .init("watch *(u16*)0x46c", "a word of memory"),
            .init("gdbserver :1234", "for GDB and LLDB"),
        ],
        commands: ["break", "watch", "x", "print", "backtrace", "run", "gdbserver"])

    private static let scripts = HelpTopic(
        name: "scripts", aliases: ["script", "scripting", "batch", "automation"],
        summary: "commands from files, from the shell and at breakpoints, and JSON",
        paragraphs: [
            "`source FILE` does the commands of a file, one a line; lines that begin with `#` are left out. In a shell, `kvmscope -x FILE -ex COMMAND` does them first, in the order given, and with `--batch` that is all: the first that fails ends it with status 1.",
            "`commands N` keeps lines that are done at each stop at a breakpoint: `silent` first keeps the stop itself quiet, `continue` last makes a trace.",
            "`if`, `else`, `while`, `loop_break` and `loop_continue` stand on lines of their own, up to `end`. `define NAME` makes a command of the lines up to `end`, in which `$arg0` is the first word that it is called with; `define hook-stop` is done after each stop. `printf` and `echo` print, `eval` does a command that a format makes, `shell` and `pipe` run programs.",
            "`set $n = 0` makes a variable; `$_streq`, `$_regex`, `$_strlen` and `$_memeq` look at strings. `kvmscope --json` gives one object a line for each command.",
        ],
        examples: [
            .init("source boot.cmd", "a file"), .init("commands 1 regs; x/4i; continue", "at a breakpoint"),
            .init("set $n = $n + 1", "a counter"), .init("while $ax < 3", "the lines up to `end`"),
            .init("printf \"%04x\\n\", $ax", "a value, by a format"),
            .init("history", "what was typed, to be put into a file"),
        ],
        commands: [
            "source", "commands", "if", "while", "define", "document", "printf", "echo", "eval", "shell",
            "pipe",
            "set logging", "set", "print", "display", "history",
        ])
}

/// `help TOPIC`.
public struct HelpTopicPage: CommandOutput {
    public var topic: String
    public var summary: String
    public var paragraphs: [String]
    public var examples: [HelpPage.Example]
    public var commands: [String]

    init(_ topic: HelpTopic) {
        self.topic = topic.name
        summary = topic.summary
        paragraphs = topic.paragraphs
        examples = topic.examples.map { HelpPage.Example(line: $0.line, meaning: $0.meaning) }
        commands = topic.commands
    }

    public func lines(width: Int) -> [StyledLine] {
        var head = StyledLine(topic, .heading)
        head.append("  \(summary)")
        var result = [head]
        for paragraph in paragraphs { result += wrapped(paragraph, width).map { StyledLine($0) } }
        let lineWidth = examples.map(\.line.count).max() ?? 0
        for example in examples {
            var line = StyledLine("  " + example.line.padded(lineWidth), .symbol)
            line.append("  " + example.meaning)
            result.append(line)
        }
        let more = "`help COMMAND` for each: " + commands.joined(separator: ", ")
        return result + wrapped(more, width).map { StyledLine($0, .dim) }
    }
}
