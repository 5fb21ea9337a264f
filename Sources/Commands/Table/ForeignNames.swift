/// What fingers know from other debuggers: GDB, Bochs, pwndbg and WinDbg. Consulted for words that are no command here
/// and no beginning of one.
enum ForeignName: Sendable, Hashable {
    /// It is the command of this name, with the same arguments.
    case same(String)
    /// What it is called here, or why it is not there.
    case told(String)

    static func named(_ word: String) -> ForeignName? { all[word] }

    static let all: [String: ForeignName] = [
        // The same thing, called otherwise.
        "bl": .same("info breakpoints"),
        "bp": .same("break"),
        "be": .same("enable"),
        "bd": .same("disable"),
        "g": .same("continue"),
        "t": .same("step"),
        "k": .same("backtrace"),
        "nearpc": .same("disassemble"),
        "threads": .same("vcpu list"),

        // What people type for the same.
        "restart": .same("run"),
        "rerun": .same("run"),
        "reboot": .same("starti"),
        "pause": .same("stop"),
        "halt": .same("stop"),
        "resume": .same("continue"),
        "?": .same("help"),
        "man": .same("help"),
        "ls": .told("`shell ls` gives a line to the shell"),

        // GDB.
        "jump": .told("set the instruction pointer, as in `set $pc = 0x7c00`, then `continue`"),
        "j": .told("set the instruction pointer, as in `set $pc = 0x7c00`, then `continue`"),
        "call": .told(
            "nothing can be called in a guest; `print` evaluates, `set` changes registers and memory"),
        "return": .told(
            "`finish` runs until this code returns; `set $pc` and `set $sp` go back without running it"),
        "dump": .told("`writemem` writes memory to a file"),
        "restore": .told("`loadmem` loads a file into memory"),
        "focus": .told("F4 goes from pane to pane"),
        "refresh": .told("Ctrl-L draws the screen again"),
        "winheight": .told("+ and - give the pane in focus more rows or fewer"),
        "tui": .told("the screen is there where standard output is a terminal, unless --no-tui is given"),
        "monitor": .told("there is no server in between: type the command itself"),
        "target": .told("`kvmscope attach NAME` debugs another program's guest; `kvmscope IMAGE` makes one"),
        "attach": .told("leave with `quit`, then `kvmscope attach NAME`"),
        "file": .told("`symbols` loads symbols; `loadmem` loads a file into memory"),
        "exec-file": .told("give the image when kvmscope is started: `kvmscope IMAGE`"),
        "up": .told("`backtrace` shows the callers; their registers are not kept"),
        "down": .told("`backtrace` shows the callers; their registers are not kept"),
        "frame": .told("`backtrace` shows the callers; `info registers` the registers where the vCPU stands"),
        "ptype": .told("types are C's integers here, as in `print *(u16*)0x413`"),
        "whatis": .told("types are C's integers here, as in `print *(u16*)0x413`"),
        "rwatch": .told("`watch r ADDR` watches reads"),
        "awatch": .told("`watch rw ADDR` watches reads and writes"),
        "clear": .told("`delete` takes a breakpoint's number; `info breakpoints` lists them"),
        "record": .told("`set trace on` keeps each instruction; `revisit` looks at earlier stops"),
        "reverse-step": .told("the guest does not run backwards; `revisit` looks at earlier stops"),
        "reverse-continue": .told("the guest does not run backwards; `revisit` looks at earlier stops"),
        "handle": .told("a guest has no signals; `catch exception` stops at the processor's exceptions"),
        "signal": .told("a guest has no signals; `catch exception` stops at the processor's exceptions"),

        // Bochs.
        "ptime": .told("`info exits` and `vcpu list` show the time that the guest has used"),
        "trace-mem": .told("`watch` stops at accesses to memory; `set trace on` keeps every instruction"),
        "calc": .same("print"),
        "slist": .same("info symbols"),
        "load-symbols": .same("symbols"),
        "sb": .told("`step N` steps so many instructions; `set step-time` says how long each takes"),
        "sba": .told("`step N` steps so many instructions; `set step-time` says how long each takes"),
        "instrument": .told(
            "`set trace on` keeps every instruction; `catch io`, `catch int` and others stop at events"),
        "dump_cpu": .told("`info registers`, `sregs` and `creg` show the vCPU"),
        "vmexitbp": .told("`catch exit` stops when KVM_RUN comes back for a reason"),
        "log": .told("`info exits` lists the last exits; `writemem` writes memory to a file"),

        // pwndbg and gef.
        "context": .told(
            "`info registers`, `disassemble`, `telescope` and `backtrace` show it; the screen shows all at once"
        ),
        "vmmap": .told("`info mem` shows what the page tables map; `page` walks them for one address"),
        "xinfo": .told("`info mem` shows what the page tables map; `page` walks them for one address"),

        // WinDbg.
        "dd": .told("`x/8xw ADDR` shows dwords"),
        "dw": .told("`x/8xh ADDR` shows words"),
        "dq": .told("`x/8xg ADDR` shows quadwords"),
        "da": .told("`x/s ADDR` shows a string"),
        "lm": .told("`symbols` lists what is loaded"),
        "tab": .told("`info tlb` shows every page that is mapped"),
    ]

    /// Second words of `show`.
    static let show: [String: ForeignName] = [
        "int": .told("`catch int` stops at interrupts; `info blackbox` has the last ones"),
        "call": .told("`backtrace` shows the callers; `step-until call` goes to the next CALL"),
        "mode": .told("`vcpu list` shows the mode; `catch mode` stops where it changes"),
        "version": .told("`kvmscope --version` in a shell says it"),
        "args": .told("`info image` has what the guest was loaded from"),
        "registers": .same("info registers"),
        "breakpoints": .same("info breakpoints"),
    ]

    /// Second words of `info`.
    static let info: [String: ForeignName] = [
        "all-registers": .told(
            "`info registers`, `sregs`, `creg`, `dreg`, `fpu` and `xmm` show them by group"),
        "frame": .told("`backtrace` shows the callers by frame"),
        "f": .told("`backtrace` shows the callers by frame"),
        "locals": .told("`print` takes expressions of registers, memory and symbols; locals are not known"),
        "tab": .told("`info tlb` shows every page that is mapped, `info mem` by ranges"),
        "files": .told("`symbols` lists what is loaded"),
        "signals": .told("a guest has no signals; `catch exception` stops at the processor's exceptions"),
        "break": .same("info breakpoints"),
        "cpu": .told("`info registers`, `sregs` and `creg` show the vCPU"),
        "eflags": .told("`info registers` shows the flags; `print $eflags` their value"),
        "flags": .told("`info registers` shows the flags; `print $eflags` their value"),
        "fpu": .same("fpu"),
        "device": .told(
            "`info io` lists ports and their devices; `info pic`, `info pit` and `info rtc` show some"),
        "proc": .told("`info sources` has what is known of the program; `info mem` maps the guest's memory"),
    ]
}
