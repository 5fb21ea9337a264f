import DebugTarget
import Debugger
import KVMCore
import Symbols
import X86

/// A stop: why, where, and what happened since the guest was resumed.
public struct StopOutput: CommandOutput, Hashable {
    public struct Reason: Sendable, Hashable, Encodable {
        /// "created", "step", "returned", "instruction", "condition", "breakpoint", "watchpoint", "caught",
        /// "magicBreakpoint", "ioDebug", "interrupted", "emptyVector", "hlt", "tripleFault", "internalError", "failEntry", "poweredOff",
        /// "guestReset", "killed",
        /// "noProgress", "stepLost", "withheld", "exit", "ended" or "failed".
        public var kind: String
        /// A sentence for people.
        public var text: String
        /// The breakpoints hit.
        public var breakpoints: [Int]?
        /// The accesses that watchpoints caught.
        public var accesses: [WatchRow]?
        /// What catchpoints stopped at, whatever else the reason is.
        public var events: [CaughtRow]?
        /// Of "emptyVector": the vector, where it is known.
        public var vector: Int?
        /// KVM_EXIT_INTERNAL_ERROR's suberror.
        public var suberror: UInt32?
        /// Its words, or the hardware's reason for a failed entry.
        public var data: [Hex]?
        /// Of an internal error: the instruction that KVM could not go on from, and its bytes.
        public var instruction: String?
        public var instructionBytes: String?
        /// Of an internal error: whose doing it is, and where it would run.
        public var explanation: String?
    }

    /// The next instruction, after Bochs' stop line.
    public struct Position: Sendable, Hashable, Encodable {
        public var cs: Hex
        public var ip: Hex
        public var linear: Hex
        /// Absent where no page maps it.
        public var physical: Hex?
        public var instruction: String
        public var bytes: String
        /// A name for the place: `puts+0x4`.
        public var symbol: String?
        /// The source line that it comes of.
        public var source: Source?
    }

    /// A breakpoint that could not be set in the guest as it is at its start.
    public struct Disabled: Sendable, Hashable, Encodable {
        public var number: Int
        public var reason: String
    }

    /// A line of a source file.
    public struct Source: Sendable, Hashable, Encodable {
        /// As the symbols have it.
        public var path: String
        public var line: Int
        /// Absent where the file was not found.
        public var text: String?
    }

    public var number: Int
    public var vcpu: Int
    public var reason: Reason
    public var mode: String
    /// Absent if the vCPU is gone.
    public var position: Position?
    public var steps: Int
    /// Why the condition of a breakpoint that stopped the guest could not be evaluated.
    public var conditionError: String?
    public var passedHalt: Bool
    /// The last step covered two instructions; absent where it did not.
    public var steppedTwo: Bool?
    /// Code that this host's KVM does not single-step was stepped, and may have gone too far: what kind; absent where
    /// none was.
    public var unsteppable: String?
    /// Guest-physical addresses where breakpoints' patches that the guest had copied were undone; absent where none was.
    public var undoneCopies: [Hex]?
    /// Zeros stand before and from the next instruction on, which are no code; absent where something else does.
    public var isAmongZeros: Bool?
    /// What the steps held off, as "vector 0x20" or "NMI"; absent where nothing was.
    public var heldInterrupt: String?
    /// Interrupts cannot be held off here, and may come between steps; said once.
    var cannotHold = false
    /// The guest turned tracing on or off since the stop before (port 0x8a00); absent where it did not.
    public var tracing: Bool?
    public var exits: UInt64
    public var elapsedNanoseconds: UInt64
    /// How long another program's guest was stopped before it was resumed for this; absent where nothing measures it.
    public var standstillNanoseconds: UInt64?
    /// From its first vCPU held for this stop to the last; absent where they did not stop together for it.
    public var spreadNanoseconds: UInt64?
    /// Breakpoints that are disabled since the guest was started again; absent where none is.
    public var disabled: [Disabled]?
    /// What is displayed after every stop; absent if nothing is.
    public var displays: [DisplayRow]?
    /// How wide the instruction pointer is shown, in digits.
    private var offsetDigits: Int
    /// Nothing is shown, because a breakpoint's commands begin with `silent`.
    var isSilent = false

    private enum CodingKeys: String, CodingKey {
        case number, vcpu, reason, mode, position, conditionError, steps, passedHalt, steppedTwo,
            unsteppable, undoneCopies, isAmongZeros,
            heldInterrupt, tracing, exits, elapsedNanoseconds, standstillNanoseconds, spreadNanoseconds,
            disabled, displays
    }

    init(_ stop: Stop, line: StopLine?, source: String? = nil, displays: [DisplayRow] = []) {
        self.displays = displays.isEmpty ? nil : displays
        disabled =
            stop.lost.isEmpty ? nil : stop.lost.map { Disabled(number: $0.number, reason: $0.reason) }
        number = stop.number
        vcpu = stop.vcpu
        let isReal = stop[stop.vcpu]?.mode == .real
        reason = Reason(stop.reason, inRealMode: isReal)
        // With interrupt controllers in the kernel something may wake it.
        if stop.reason == .hlt, stop.passedHalt {
            reason.text = "Halted: HLT."
        } else if stop.reason == .hlt, stop[stop.vcpu]?.registers.rflags.contains(.if) == false {
            reason.text = "Halted: HLT with interrupts off (IF = 0): nothing can wake the guest."
        }
        if !stop.caught.isEmpty {
            reason.events = stop.caught.map { CaughtRow($0, inRealMode: isReal) }
            if case .caught = stop.reason {
            } else {
                let caught = stop.caught.map { CaughtRow.text($0, inRealMode: isReal) }
                reason.text = caught.joined(separator: " ") + " " + reason.text
            }
        }
        let mode = stop[stop.vcpu]?.mode ?? .real
        self.mode = mode.rawValue
        offsetDigits = mode.offsetDigits
        position = line.map(Position.init)
        position?.source?.text = source
        steps = stop.steps
        conditionError = stop.conditionFailure.map { "\($0)" }
        passedHalt = stop.passedHalt
        if stop.steppedTwo { steppedTwo = true }
        unsteppable = stop.unsteppable?.name
        if !stop.undoneCopies.isEmpty { undoneCopies = stop.undoneCopies.map { Hex($0) } }
        exits = stop.exitsSince
        elapsedNanoseconds = stop.elapsed.nanoseconds
        standstillNanoseconds = stop.standstill?.nanoseconds
        spreadNanoseconds = stop.spread?.nanoseconds
    }

    /// What is behind an internal error becomes part of its reason.
    mutating func explain(_ cause: InternalErrorCause) {
        let text = cause.text(inRealMode: mode == CPUMode.real.rawValue)
        guard !text.isEmpty else { return }
        reason.explanation = text
        reason.text += " " + text
        reason.instruction = cause.code?.text
        reason.instructionBytes = cause.code.map { Hex.bytes($0.bytes) }
    }

    public func lines(width: Int) -> [StyledLine] {
        guard !isSilent else { return [] }
        var result: [StyledLine] = []
        // One plain step says no more than where it went: the line below is the news.
        let isPlainStep = reason.kind == "step" && steps <= 1
        if !isPlainStep {
            let isBad = [
                "tripleFault", "internalError", "failEntry", "stepLost", "noProgress", "ended", "failed",
            ].contains(
                reason.kind)
            var head = StyledLine(reason.text, isBad ? .error : .heading)
            var facts: [String] = []
            if steps > 0, reason.kind != "step" { facts.append(counted(steps, "instruction")) }
            if exits > 0 { facts.append(counted(exits, "exit")) }
            if elapsedNanoseconds > 0 { facts.append(shortTime(elapsedNanoseconds)) }
            if let standstillNanoseconds {
                facts.append("stopped for \(shortTime(standstillNanoseconds)) before")
            }
            if let spreadNanoseconds { facts.append("vCPUs stopped within \(shortTime(spreadNanoseconds))") }
            if !facts.isEmpty { head.append("  (" + facts.joined(separator: ", ") + ")", .dim) }
            result.append(head)
        }
        if let conditionError {
            result.append(StyledLine("The condition could not be evaluated: \(conditionError).", .warning))
        }
        if passedHalt {
            result.append(StyledLine("The step went over a HLT: the vCPU would have slept here.", .warning))
        }
        if steppedTwo ?? false {
            result.append(
                StyledLine(
                    "A step covered two instructions: after MOV SS or POP SS this host does not trap.",
                    .warning
                ))
        }
        if let unsteppable {
            result.append(
                StyledLine(
                    "This host's KVM does not single-step \(unsteppable) (`info host`): a step may have gone on to the next "
                        + "exit. Breakpoints stop it where they stand.",
                    .warning))
        }
        for lost in disabled ?? [] {
            result.append(
                StyledLine(
                    "Breakpoint \(lost.number) is disabled since the guest was started again: \(lost.reason).",
                    .warning))
        }
        if let undoneCopies {
            let places = undoneCopies.prefix(4).map { "p:\($0)" }.joined(separator: ", ")
            result.append(
                StyledLine(
                    "The guest had copied \(counted(undoneCopies.count, "breakpoint's patch", "breakpoints' patches")) with "
                        + "its code: its own bytes are back at \(places)\(undoneCopies.count > 4 ? " and more" : "").",
                    .warning))
        }
        if isAmongZeros ?? false {
            result.append(
                StyledLine(
                    "The vCPU runs through zeros, which are instructions (ADD) but no code: it has left its own somewhere "
                        + "before. `info blackbox` has what was stepped.", .warning))
        }
        if let heldInterrupt {
            result.append(
                StyledLine("An interrupt is held off while stepping: \(heldInterrupt).", .warning))
        }
        if let tracing {
            result.append(
                StyledLine(
                    tracing
                        ? "The guest turned tracing on (port 0x8a00): every instruction is stepped and kept, and "
                            + "`info blackbox` shows them; `trace off` ends it."
                        : "The guest turned tracing off (port 0x8a00).", .warning))
        }
        if cannotHold {
            result.append(
                StyledLine(
                    "This KVM cannot hold interrupts off while stepping (no KVM_GUESTDBG_BLOCKIRQ).", .warning
                ))
        }
        if let position {
            result.append(position.line(vcpu: vcpu, digits: offsetDigits))
            if let source = position.source { result.append(source.styled) }
        }
        for display in displays ?? [] { result += display.lines(width: width) }
        return result
    }
}

extension StopOutput.Position {
    init(_ line: StopLine) {
        cs = Hex(line.code.selector)
        ip = Hex(line.code.ip)
        linear = Hex(line.code.address)
        physical = line.physical.map { Hex($0) }
        instruction = line.code.text
        bytes = Hex.bytes(line.code.bytes)
        symbol = line.symbol
        source = line.source.map { StopOutput.Source(path: $0.path, line: $0.line) }
    }

    /// `(0) [0x000000007c00] 0000:7c00 (start): cli ; fa`
    func line(vcpu: Int, digits: Int) -> StyledLine {
        var line = StyledLine("(\(vcpu)) [", .dim)
        line.append(physical.map { Hex.padded($0.value, width: 12) } ?? "not mapped", .address)
        line.append("] ", .dim)
        line.append(Hex.digits(cs.value, width: 4) + ":" + Hex.digits(ip.value, width: digits), .address)
        if let symbol {
            line.append(" (")
            line.append(symbol, .symbol)
            line.append(")")
        }
        line.append(": ")
        line.append(instruction, .mnemonic)
        if !bytes.isEmpty { line.append(" ; " + bytes, .dim) }
        return line
    }
}

extension GuestReset {
    fileprivate var words: String {
        switch cause {
        case .keyboardController: "\(Hex(value)) to port 0x64, the keyboard controller"
        case .systemControl: "\(Hex(value)) to port 0x92"
        case .firmware: "a jump to the BIOS's reset vector"
        case .resetControl: "\(Hex(value)) to port 0xcf9"
        case .systemEvent: "KVM_SYSTEM_EVENT_RESET"
        }
    }
}

extension StopOutput.Source {
    /// `boot.c:12        count += 1;`
    var styled: StyledLine {
        let name = path.split(separator: "/").last.map(String.init) ?? path
        var styled = StyledLine("\(name):\(line)", .dim)
        if let text {
            let spaces = text.map { $0 == "\t" ? "    " : String($0) }.joined()
            styled.append("  \(spaces)")
        }
        return styled
    }
}

extension StopOutput.Reason {
    init(_ reason: StopReason, inRealMode isReal: Bool) {
        switch reason {
        case .created:
            self.init(kind: "created", text: "The guest has not run yet.")
        case .step(let count):
            self.init(kind: "step", text: "Stepped \(counted(count, "instruction")).")
        case .reached(.returned): self.init(kind: "returned", text: "Returned.")
        case .reached(.instruction(let kind)):
            self.init(kind: "instruction", text: "Next is \(kind.article) \(kind.rawValue.uppercased()).")
        case .reached(.condition(let text)):
            self.init(kind: "condition", text: "It holds: \(text).")
        case .reached(.place): self.init(kind: "breakpoint", text: "Reached the address.", breakpoints: [])
        case .breakpoint(let numbers):
            let list = numbers.map(String.init).joined(separator: ", ")
            self.init(
                kind: "breakpoint",
                text: "Breakpoint\(numbers.count == 1 ? "" : "s") \(list).",
                breakpoints: numbers)
        case .watchpoint(let hits):
            self.init(
                kind: "watchpoint", text: hits.map(WatchRow.text).joined(separator: " "),
                breakpoints: Array(Set(hits.map(\.number))).sorted(), accesses: hits.map(WatchRow.init))
        case .caught(let events):
            self.init(
                kind: "caught",
                text: events.map { CaughtRow.text($0, inRealMode: isReal) }.joined(separator: " "),
                breakpoints: events.map(\.number),
                events: events.map { CaughtRow($0, inRealMode: isReal) })
        case .magicBreakpoint:
            self.init(kind: "magicBreakpoint", text: "Magic breakpoint.")
        case .ioDebug(.stop):
            self.init(kind: "ioDebug", text: "The guest asked for its debugger (port 0x8a00).")
        case .ioDebug(.watch(let range)):
            self.init(
                kind: "ioDebug",
                text:
                    "The guest asked to have \(Hex(range.lowerBound)) to \(Hex(range.upperBound - 1)) watched "
                    + "(port 0x8a00), which cannot be done.")
        case .ioDebug(.unwatch):
            self.init(kind: "ioDebug", text: "The guest asked to have nothing watched (port 0x8a00).")
        case .ioDebug(.trace(let trace)):
            self.init(
                kind: "ioDebug",
                text:
                    "The guest asked for a trace to be turned \(trace.isEmpty ? "off" : "on") (port 0x8a00).")
        case .interrupted:
            self.init(kind: "interrupted", text: "Interrupted.")
        case .emptyVector(let found):
            self.init(kind: "emptyVector", text: found.text, vector: found.vector.map(Int.init))
        case .hlt:
            self.init(kind: "hlt", text: "Halted: HLT, and nothing can wake the guest.")
        case .tripleFault:
            self.init(
                kind: "tripleFault",
                text: "Triple fault: the processor shut down (KVM_EXIT_SHUTDOWN). `info blackbox` says why.")
        case .internalError(let error):
            self.init(
                kind: "internalError",
                text: "KVM internal error \(error.suberror): \(error.meaning).",
                suberror: error.suberror, data: error.data.map { Hex($0) })
        case .failEntry(let hardwareReason, let cpu):
            self.init(
                kind: "failEntry",
                text: "The processor refused to enter the guest on host CPU \(cpu): hardware reason "
                    + "\(Hex(hardwareReason)).",
                data: [Hex(hardwareReason)])
        case .poweredOff:
            self.init(kind: "poweredOff", text: "The guest switched itself off.")
        case .guestReset(let reset):
            self.init(
                kind: "guestReset",
                text:
                    "The guest asked for a reset (\(reset.words)). `continue` or `run` goes on from the start."
            )
        case .killed:
            self.init(kind: "killed", text: "The guest was ended. `run` starts it again.")
        case .noProgress(let exit):
            self.init(
                kind: "noProgress",
                text:
                    "No progress: this host's KVM does not execute the instruction, and reports \(exit.text). Where a "
                    + "processor with VMX or SVM runs the guest itself, it does.")
        case .stepLost(.interrupted):
            self.init(
                kind: "stepLost",
                text:
                    "The step was lost: the host does not single-step this code, which ran on by itself and was "
                    + "stopped here.")
        case .stepLost(let exit):
            self.init(
                kind: "stepLost",
                text: "The step was lost: the host did not single-step here. It ended with \(exit.text).")
        case .withheld(let withholding):
            self.init(kind: "withheld", text: "\(withholding.reason); \(withholding.remedy).")
        case .exit(let exit):
            self.init(kind: "exit", text: "Cannot go on from the exit \(exit.text).")
        case .ended(let what):
            self.init(kind: "ended", text: "\(what.prefix(1).uppercased())\(what.dropFirst()).")
        case .failed(let error):
            self.init(kind: "failed", text: "KVM failed: \(error.description).")
        }
    }
}

extension InstructionKind {
    fileprivate var article: String { self == .iret || self == .int ? "an" : "a" }
}
