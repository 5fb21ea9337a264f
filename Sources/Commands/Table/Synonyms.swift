/// Words that stand for the same thing, for a search in the help.
enum Synonyms {
    private static let groups: [[String]] = [
        ["register", "registers", "reg", "regs"], ["memory", "ram"],
        ["breakpoint", "breakpoints", "bp"], ["watchpoint", "watchpoints", "watch", "access"],
        ["interrupt", "interrupts", "irq", "irqs"], ["exception", "exceptions", "fault", "faults", "trap"],
        ["restart", "reset", "reboot", "rerun", "run", "start"], ["stop", "pause", "halt", "interrupt"],
        ["continue", "resume", "go"], ["quit", "exit", "leave", "end"],
        ["disk", "disks", "drive", "floppy", "cdrom"],
        ["keyboard", "keys", "key", "type"], ["colour", "color", "colours", "colors", "theme"],
        ["search", "find", "look"], ["script", "scripts", "macro", "define", "source"],
        ["vcpu", "vcpus", "cpu", "cpus", "thread", "threads", "core", "processor"],
        ["port", "ports", "io"], ["screen", "vga", "display", "terminal"],
        ["segment", "segments", "selector", "descriptor"], ["paging", "page", "pages", "mmu", "tlb"],
        ["symbols", "symbol", "dwarf", "elf"],
        ["stack", "frame", "frames", "backtrace", "callers", "unwind"],
        ["disassemble", "disassembly", "code", "asm", "instructions"],
        ["assign", "set", "write", "poke", "modify"],
        ["print", "show", "peek", "value", "evaluate"], ["log", "logging", "trace", "record"],
        ["save", "dump", "export"], ["help", "manual", "documentation"], ["shell", "program", "command"],
        ["time", "clock", "timer", "timers", "pit", "rtc"],
        ["device", "devices", "hardware", "chip", "chips"],
        ["bios", "firmware"], ["variable", "variables", "convenience"],
    ]

    /// Other words for one; none for most.
    static func of(_ word: String) -> Set<String> {
        Set(groups.filter { $0.contains(word) }.joined()).subtracting([word])
    }

    /// Whether one of `names` stands in a text as a word of its own.
    static func text(_ text: String, names: Set<String>) -> Bool {
        text.split { !$0.isLetter && !$0.isNumber }.contains { names.contains(String($0)) }
    }
}
