import DebugTarget
import Debugger
import KVMCore
import X86

extension CommandTable {
    static let catchCommands: [Command] =
        CatchKind.allCases.map { kind in
            Command(
                "catch \(kind.rawValue)", kind.aliases,
                kind.arguments + (kind.arguments.isEmpty ? "" : " ")
                    + "[if EXPR]", .breakpoints, kind.summary, details: kind.details, examples: kind.examples,
                completion: kind.completion, whileRunning: true
            ) { session, call throws(CommandError) in
                try CatchActions.make(kind, call.rest, session, call, isTemporary: false)
            }
        } + [
            Command(
                "tcatch", [], "EVENT [ARGUMENTS] [if EXPR]", .breakpoints, "stop at an event once",
                details: "As `catch EVENT`, but the catchpoint is gone after its first hit.",
                examples: [.init("tcatch io 0x80 out", "the next POST code")],
                completion: [.words(CatchKind.allCases.map(\.rawValue)), .expression], whileRunning: true,
                action: CatchActions.setTemporary),
            Command(
                "modebp", [], "", .breakpoints, "stop at mode switches, or no longer",
                details: "As `catch mode`; a second time it takes that back. Bochs' name.",
                whileRunning: true,
                action: CatchActions.toggleMode),
            Command(
                "set magic-break", [], "[on|off]", .breakpoints, "stop at `xchg bx, bx`, or do not",
                details: """
                    Bochs' magic breakpoint: the guest stops after the instruction, which does nothing. It leaves no trace \
                    outside of the guest, so every instruction is stepped while this is on: slow. In 32- and 64-bit code \
                    it is `xchg bx, bx` with the prefix 66. Off at first.
                    """,
                completion: [.words(["on", "off"])], whileRunning: true, action: CatchActions.setMagic),
            Command(
                "show magic-break", [], "", .breakpoints, "whether `xchg bx, bx` stops the guest",
                whileRunning: true, action: CatchActions.showMagic),
        ]
}

/// The events by the words of `catch`.
enum CatchKind: String, CaseIterable, Sendable {
    case io, mmio, exit, int, exception, mode, msr, cr, hlt, triplefault, bios

    var aliases: [String] { self == .int ? ["catch interrupt"] : [] }

    var arguments: String {
        switch self {
        case .io: "[PORT[-PORT]] [in|out]"
        case .mmio: "START[-END | +LEN]"
        case .exit: "REASON"
        case .int: "VECTOR"
        case .exception: "[VECTOR|NAME]"
        case .msr: "[INDEX|NAME]"
        case .cr: "[0|3|4|8]"
        case .bios: "[NN] [ah=XX]"
        case .mode, .hlt, .triplefault: ""
        }
    }

    var summary: String {
        switch self {
        case .io: "stop after IN and OUT"
        case .mmio: "stop after an access to a device in memory"
        case .exit: "stop when KVM_RUN comes back for a reason"
        case .int: "stop at an interrupt's handler"
        case .exception: "stop at an exception's handler"
        case .mode: "stop when the processor's mode changes"
        case .msr: "stop after WRMSR"
        case .cr: "stop after a write to a control register"
        case .hlt: "stop at HLT"
        case .triplefault: "count triple faults, and do commands at one"
        case .bios: "stop after a call of the BIOS"
        }
    }

    private static let slow =
        "It leaves no trace outside of the guest, so every instruction is stepped: slow. Interrupts come as ever. Where "
        + "the host single-steps by TF, the handlers of those that are not known beforehand run unseen: the PIC's of a "
        + "guest that was attached to, and all on kernels before 5.16; `info breakpoints` says so."

    var details: String {
        switch self {
        case .io:
            "The device has had the OUT, or given the IN, when the guest stops. Without a port: all that leave the "
                + "guest. Ports that the kernel serves itself (`--irqchip kernel`: PIC, PIT) are found by stepping. INS "
                + "and OUTS with REP are one hit, after the instruction; the stop says how many accesses they made. A "
                + "port that switches the guest off counts its hit, and the guest is off."
        case .mmio: "Guest-physical addresses where no memory is; `watch` is for memory."
        case .exit:
            "By the kernel's name without KVM_EXIT_, or by number. The exit has been handled. Of a guest that was attached "
                + "to, `info breakpoints` also has how many the host counted with no stop; so it has for io, mmio, msr "
                + "and hlt. SHUTDOWN, FAIL_ENTRY and "
                + "INTERNAL_ERROR of a guest that was attached to are seen before its VMM acts on them, which may end "
                + "it: `continue` gives it the exit, and a register that is set takes the exit back."
        case .int:
            "INT n, an interrupt or an exception. " + Self.slow
                + " A debug register stands at the handler, so that it is "
                + "seen before its first instruction."
        case .exception:
            "All of vectors 0 to 31, or one; INT n is none, INT3 and INTO are. " + Self.slow
                + " Up to four handlers get "
                + "debug registers; others are seen one instruction late, or not at all where the host steps by TF. With a "
                + "BIOS's PIC in real mode, IRQ 0 to 7 have vectors 8 to 15."
        case .mode: "Real, virtual-8086, protected, compatibility and 64-bit mode. " + Self.slow
        case .msr:
            "By KVM's MSR filter where the host has it: the WRMSR is done again without it, so that the guest sees no "
                + "difference. Elsewhere, and for the x2APIC's, by stepping."
        case .cr: "CR0 by LMSW and CLTS, too. " + Self.slow
        case .hlt: "The vCPU is halted then. With the interrupt controllers in the kernel by stepping."
        case .triplefault:
            "A triple fault stops a guest of kvmscope's own anyway. One that was attached to is stopped before its VMM "
                + "resets it or ends; `continue` lets the VMM do so. `info blackbox` says why it came."
        case .bios:
            "Of a guest that has kvmscope's BIOS services. NN and XX are hexadecimal, as books have them: `catch bios 13 "
                + "ah=42`. The BIOS has done the call when the guest stops, at the IRET of its stub; `finish` or two steps "
                + "lead back to the caller. A condition sees the registers as they were at the call. `catch int` finds any "
                + "INT, by stepping."
        }
    }

    var examples: [Command.Example] {
        switch self {
        case .io:
            [
                .init("catch io 0x3f8-0x3ff out", "writes to COM1"),
                .init("catch io 0x80 if $al == 7", "one POST code"),
            ]
        case .mmio:
            [
                .init("catch mmio 0xfee00000-0xfee00fff", "the local APIC"),
                .init("catch mmio 0xfed00000 +0x400", "the HPET"),
            ]
        case .exit: [.init("catch exit io", "all port I/O"), .init("catch exit 8", "by number")]
        case .int: [.init("catch int 0x13 if $ah == 0x42", "extended disk reads")]
        case .exception: [.init("catch exception #PF", "page faults"), .init("catch exception", "any")]
        case .msr: [.init("catch msr efer", "by name"), .init("catch msr", "any")]
        case .cr: [.init("catch cr 3", "address spaces")]
        case .bios:
            [
                .init("catch bios 13", "all disk calls"),
                .init("catch bios 13 ah=42 if $dl == 0x80", "extended reads of the first disk"),
            ]
        case .mode, .hlt, .triplefault: []
        }
    }

    var completion: [Command.CompletionKind] {
        switch self {
        case .io: [.expression, .words(["in", "out", "if"]), .expression]
        case .mmio, .int: [.expression]
        case .exit: [.words(CatchActions.reasons.map { $0.name.lowercased() }), .expression]
        case .exception: [.words(ExceptionName.all), .expression]
        case .msr: [.words(ModelSpecificRegister.all.map { $0.name.lowercased() }), .expression]
        case .cr: [.words(["0", "3", "4", "8"]), .expression]
        case .mode, .hlt, .triplefault: [.words(["if"]), .expression]
        case .bios: [.none]
        }
    }
}

enum CatchActions {
    /// The reasons that `catch exit` takes.
    static let reasons: [(name: String, reason: ExitReason)] = (UInt32(0)..<64).compactMap { number in
        let reason = ExitReason(rawValue: number)
        return reason.name.map { ($0, reason) }
    }

    static func make(
        _ kind: CatchKind, _ rest: Argument, _ session: Session, _ call: Invocation, isTemporary: Bool
    ) throws(CommandError) -> Outcome {
        let (place, condition) = call.condition(in: rest)
        let words = split(place)
        let event = try event(kind, words, session, call)
        if let condition, condition.text.isEmpty { throw call.usageError("`if` needs an expression") }
        try BreakpointActions.check(condition, session, call)
        let catchpoint: Breakpoint
        do throws(CommandError) {
            catchpoint = try call.perform(at: words.first) { () throws(DebuggerError) in
                try session.debugger.setCatchpoint(
                    event, isTemporary: isTemporary, condition: condition?.text)
            }
        } catch {
            // What cannot be stopped at is counted all the same.
            guard let count = session.hostCounts(of: [(0, event)])[0] else { throw error }
            var told = error
            told.message += " (\(count.text))"
            throw told
        }
        let counts = session.hostCounts(of: [(catchpoint.number, event)])
        var row = BreakpointRow(catchpoint, onHost: counts[catchpoint.number])
        if case .interrupt = event, catchpoint.mechanism == .stepping,
            let target = session.debugger.target as? any GuestTimekeeping, target.hasGuestTime
        {
            row.note =
                (row.note.map { "\($0); " } ?? "")
                + "the guest's time goes by \(target.stepTime.nanoseconds) ns an instruction meanwhile, and its timers "
                + "with it: `set step-time` makes them come sooner"
        }
        return .done(BreakpointSet(breakpoint: row))
    }

    static func setTemporary(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        guard let word = call.arguments.first else { throw call.usageError("`tcatch` needs an event") }
        let name = word.text.lowercased()
        let all = CatchKind.allCases
        let found = all.filter { $0.rawValue == name || $0.aliases.contains("catch " + name) }
        let matching = found.isEmpty ? all.filter { $0.rawValue.hasPrefix(name) } : found
        guard matching.count == 1 else {
            throw call.error(
                matching.isEmpty
                    ? "there is no event `\(word.text)`"
                    : "`\(word.text)` is ambiguous: \(matching.map(\.rawValue).joined(separator: ", "))",
                at: word,
                suggestion: nearest(to: name, in: all.map(\.rawValue)),
                remedy: "one of: " + all.map(\.rawValue).joined(separator: ", "))
        }
        var rest = call.rest
        rest.text.removeFirst(word.end - rest.column)
        rest.column = word.end
        while rest.text.first?.isWhitespace == true {
            rest.text.removeFirst()
            rest.column += 1
        }
        return try make(matching[0], rest, session, call, isTemporary: true)
    }

    static func toggleMode(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        let set = session.debugger.breakpoints.filter { $0.event == .modeSwitch }.map(\.number)
        guard !set.isEmpty else {
            return try make(.mode, call.rest, session, call, isTemporary: false)
        }
        try call.perform { () throws(DebuggerError) in try session.debugger.deleteBreakpoints(set) }
        return .done(Message("Mode switches stop the guest no longer."))
    }

    static func setMagic(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(1)
        let isOn: Bool
        switch call.arguments.first?.text.lowercased() {
        case nil, "on": isOn = true
        case "off": isOn = false
        default: throw call.usageError("`set magic-break` takes `on` or `off`", at: call.arguments.first)
        }
        try call.perform { () throws(DebuggerError) in try session.debugger.setMagicBreakpoint(isOn) }
        return try showMagic(session, call)
    }

    static func showMagic(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        .done(
            Message(
                session.debugger.hasMagicBreakpoint
                    ? "The magic breakpoint is on: `xchg bx, bx` stops the guest, and every instruction is stepped."
                    : "The magic breakpoint is off."))
    }

    // MARK: arguments

    private static func event(
        _ kind: CatchKind, _ words: [Argument], _ session: Session, _ call: Invocation
    ) throws(CommandError) -> CatchEvent {
        func check(_ most: Int) throws(CommandError) {
            guard words.count > most else { return }
            throw call.usageError(
                "`catch \(kind.rawValue)` takes no `\(words[most].text)`", at: words[most])
        }
        switch kind {
        case .io: return try io(words, session, call)
        case .mmio: return try mmio(words, session, call)
        case .exit:
            try check(1)
            guard let word = words.first else { throw call.usageError("`catch exit` needs a reason") }
            return .exit(try reason(word, session, call))
        case .int:
            try check(1)
            guard let word = words.first else { throw call.usageError("`catch int` needs a vector") }
            return .interrupt(try vector(word, session, call))
        case .exception:
            try check(1)
            guard let word = words.first else { return .exception(nil) }
            if let named = ExceptionName.vector(named: word.text) { return .exception(named) }
            let vector = try vector(word, session, call)
            guard vector < 32 else {
                throw call.error(
                    "exceptions have vectors 0 to 31", at: word, remedy: "`catch int` takes any vector")
            }
            return .exception(vector)
        case .mode:
            try check(0)
            return .modeSwitch
        case .msr:
            try check(1)
            guard let word = words.first else { return .msr(nil) }
            return .msr(try SystemActions.msrIndex(word, session, call))
        case .cr:
            try check(1)
            guard let word = words.first else { return .control(nil) }
            let name = word.text.lowercased()
            let digits = name.drop { $0 == "$" || $0 == "c" || $0 == "r" }
            guard let register = CatchEvent.ControlRegister(rawValue: "cr" + digits) else {
                throw call.error(
                    "there is no control register `\(word.text)` to catch writes of", at: word,
                    remedy: "0, 3, 4 or 8")
            }
            return .control(register)
        case .hlt:
            try check(0)
            return .hlt
        case .triplefault:
            try check(0)
            return .tripleFault
        case .bios: return try firmware(words, call)
        }
    }

    /// `13 ah=42`: hexadecimal, with or without `0x` and `h`.
    private static func firmware(_ words: [Argument], _ call: Invocation) throws(CommandError) -> CatchEvent {
        func byte(_ text: Substring, _ word: Argument) throws(CommandError) -> UInt8 {
            var digits = text.lowercased()[...]
            if digits.hasPrefix("0x") { digits = digits.dropFirst(2) }
            if digits.hasSuffix("h") { digits = digits.dropLast() }
            guard let value = UInt8(digits, radix: 16), !digits.hasPrefix("+") else {
                throw call.error("`\(word.text.shortened)` is no hexadecimal number from 0 to ff", at: word)
            }
            return value
        }
        var vector: UInt8?
        var function: UInt8?
        for word in words {
            if word.text.lowercased().hasPrefix("ah=") {
                guard function == nil else { throw call.usageError("one `ah=` is enough", at: word) }
                function = try byte(word.text.dropFirst(3), word)
            } else {
                guard vector == nil else {
                    throw call.usageError("`catch bios` takes no `\(word.text.shortened)`", at: word)
                }
                vector = try byte(word.text[...], word)
            }
        }
        return .firmware(vector: vector, function: function)
    }

    private static func io(
        _ words: [Argument], _ session: Session, _ call: Invocation
    ) throws(CommandError) -> CatchEvent {
        var words = words
        var direction: PortIO.Direction?
        switch words.last?.text.lowercased() {
        case "in": direction = .in
        case "out": direction = .out
        default: break
        }
        if direction != nil { words.removeLast() }
        guard let word = words.first else { return .io(ports: nil, direction: direction) }
        guard words.count == 1 else {
            throw call.usageError("`catch io` takes ports, and `in` or `out`", at: words[1])
        }
        let range = try range(word, session, call)
        guard range.upperBound <= 0xFFFF else {
            throw call.error("ports are from 0 to 0xffff", at: word)
        }
        return .io(ports: UInt16(range.lowerBound)...UInt16(range.upperBound), direction: direction)
    }

    private static func mmio(
        _ words: [Argument], _ session: Session, _ call: Invocation
    ) throws(CommandError) -> CatchEvent {
        guard let word = words.first else { throw call.usageError("`catch mmio` needs an address") }
        var range = try range(word, session, call)
        if words.count == 2 {
            var length = words[1]
            if length.text.first == "+" {
                length.text.removeFirst()
                length.column += 1
            }
            let count = try session.number(length, call)
            let (last, overflow) = range.lowerBound.addingReportingOverflow(count &- 1)
            guard count > 0, !overflow else {
                throw call.error("that is no length of a range", at: words[1])
            }
            range = range.lowerBound...last
        }
        guard words.count <= 2 else {
            throw call.usageError("`catch mmio` takes a range of addresses", at: words[2])
        }
        return .mmio(range)
    }

    /// `A` or `A-B`, both inclusive; a minus of an expression stands in parentheses.
    private static func range(
        _ word: Argument, _ session: Session, _ call: Invocation
    ) throws(CommandError) -> ClosedRange<UInt64> {
        var depth = 0
        var parts = [Argument(text: "", column: word.column)]
        for (place, character) in word.text.enumerated() {
            if character == "(" { depth += 1 }
            if character == ")" { depth -= 1 }
            if character == "-", depth == 0, parts.count == 1, !parts[0].text.isEmpty {
                parts.append(Argument(text: "", column: word.column + place + 1))
            } else {
                parts[parts.count - 1].text.append(character)
            }
        }
        func value(_ part: Argument) throws(CommandError) -> UInt64 {
            var part = part
            if part.text.lowercased().hasPrefix("p:") {
                part.text.removeFirst(2)
                part.column += 2
            }
            return try session.number(part, call)
        }
        let first = try value(parts[0])
        guard parts.count == 2 else { return first...first }
        let last = try value(parts[1])
        guard first <= last else {
            throw call.error("the range ends before it begins", at: parts[1])
        }
        return first...last
    }

    private static func vector(
        _ word: Argument, _ session: Session, _ call: Invocation
    ) throws(CommandError) -> UInt8 {
        let value = try session.number(word, call)
        guard let vector = UInt8(exactly: value) else {
            throw call.error("vectors are from 0 to 255, not \(session.signed(value))", at: word)
        }
        return vector
    }

    private static func reason(
        _ word: Argument, _ session: Session, _ call: Invocation
    ) throws(CommandError) -> ExitReason {
        var name = word.text.uppercased()
        if name.hasPrefix("KVM_EXIT_") { name.removeFirst("KVM_EXIT_".count) }
        if let known = reasons.first(where: { $0.name == name || $0.name == "X86_" + name }) {
            return known.reason
        }
        guard let number = UInt32(name) else {
            throw call.error(
                "there is no exit reason `\(word.text)`", at: word,
                suggestion: nearest(to: name, in: reasons.map(\.name))?.lowercased(),
                remedy: "the kernel's name, as `io`, `mmio`, `hlt` or `shutdown`, or a number")
        }
        return ExitReason(rawValue: number)
    }
}
