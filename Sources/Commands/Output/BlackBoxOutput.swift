import DebugTarget
import Debugger
import Symbols
import X86

/// `info blackbox`.
public struct BlackBoxOutput: CommandOutput, Hashable {
    /// One exception of the chain.
    public struct Link: Sendable, Hashable, Encodable {
        public var vector: Int
        /// "#GP general protection".
        public var name: String
        /// Absent where the exception has none.
        public var errorCode: Hex?
        /// Why it arose, in words; absent for the double fault that two of them make.
        public var cause: String?
        /// The page walk that the cause is about.
        public var walk: PageWalkOutput?
        /// As short as can be: `#GP`.
        fileprivate var shortName: String

        private enum CodingKeys: String, CodingKey { case vector, name, errorCode, cause, walk }
    }

    public struct Fault: Sendable, Hashable, Encodable {
        /// "shutdown", "lastStep" or "lost".
        public var origin: String
        public var mode: String
        /// The instruction that began it.
        public var position: Position?
        public var registers: [String: Hex]
        public var chain: [Link]
        /// The exception that the host's KVM noted last before it gave up; absent where it has none.
        public var reported: Reported?
        /// "shutdown", "reachesHandler", "taskGate", "unreadable" or "unknown".
        public var end: String
        /// In words.
        public var conclusion: String
    }

    /// As KVM_GET_VCPU_EVENTS has it.
    public struct Reported: Sendable, Hashable, Encodable {
        public var vector: Int
        public var name: String
        public var errorCode: Hex?
    }

    public struct Position: Sendable, Hashable, Encodable {
        public var cs: Hex
        public var ip: Hex
        public var linear: Hex
        public var bytes: String
        public var text: String
        public var symbol: String?
        var digits: Int

        private enum CodingKeys: String, CodingKey { case cs, ip, linear, bytes, text, symbol }
    }

    public struct Step: Sendable, Hashable, Encodable {
        public var number: UInt64
        public var position: Position
        /// Before the instruction.
        public var registers: [String: Hex]
        /// The vector whose handler was entered before the instruction, or because of it; absent where none was.
        public var delivered: Int?
        /// What it changed; what an edit or a handler's first instruction changed is none of its.
        public var changed: [String: Hex]
        fileprivate var changes: String

        private enum CodingKeys: String, CodingKey { case number, position, registers, delivered, changed }
    }

    public struct Exit: Sendable, Hashable, Encodable {
        public var number: UInt64
        public var exit: String
    }

    public var vcpu: Int
    /// Absent where the vCPU has not died of a triple fault.
    public var fault: Fault?
    /// Why the guest stopped, where that was an internal error of KVM's; absent otherwise.
    public var internalError: String?
    /// The oldest first.
    public var steps: [Step]
    public var stepCount: UInt64
    public var exits: [Exit]

    init(_ box: BlackBox, last: GeneralRegisters?, internalError: String? = nil) {
        self.internalError = internalError
        vcpu = box.vcpu
        fault = box.fault.map(Fault.init)
        stepCount = box.stepCount
        exits = box.exits.map { Exit(number: $0.number, exit: $0.text) }
        let after = box.steps.dropFirst().map { Optional($0.record.registers) } + [last]
        steps = zip(box.steps, after).map { step, next in
            Step(step, next: next)
        }
    }

    public func lines(width: Int) -> [StyledLine] {
        var lines: [StyledLine] = []
        if let fault {
            lines += fault.lines(vcpu: vcpu, width: width)
        } else if let internalError {
            lines.append(StyledLine(internalError, .error))
        } else {
            lines.append(StyledLine("vCPU \(vcpu) has not died of a triple fault."))
        }
        if !steps.isEmpty {
            lines.append(
                StyledLine(
                    steps.count == 1
                        ? "The last instruction that was seen to begin:"
                        : "The last \(grouped(steps.count)) instructions that were seen to begin:", .heading))
            for step in steps {
                var line = StyledLine("#\(step.number) ".padded(7), .dim)
                line.append(step.position.styled)
                if !step.changes.isEmpty { line.append("  " + step.changes, .changed) }
                lines.append(line)
            }
        }
        if !exits.isEmpty {
            lines.append(StyledLine("The last \(counted(exits.count, "exit")):", .heading))
            for exit in exits {
                var line = StyledLine("#\(exit.number) ".padded(7), .dim)
                line.append(exit.exit)
                lines.append(line)
            }
        }
        return lines
    }
}

extension BlackBoxOutput.Step {
    /// - Parameter next: the registers before the step after it, or at the stop.
    fileprivate init(_ step: BlackBox.Step, next: GeneralRegisters?) {
        let record = step.record
        number = record.number
        let mode = CPUMode(record.registers, record.special)
        position = BlackBoxOutput.Position(step.code, mode)
        registers = RegisterSummary.values(record.registers)
        delivered = record.delivered.map(Int.init)
        let after = record.isFree ? nil : record.after ?? next
        changed = after.map { RegisterSummary.changed(record.registers, $0) } ?? [:]
        changes = after.map { RegisterSummary.changes(record.registers, $0) } ?? ""
        if let vector = record.delivered {
            let name = ExceptionName.full(vector, inRealMode: mode == .real)
            changes = "-> \(name)" + (changes.isEmpty ? "" : "  \(changes)")
        }
        if record.isFree { changes = "and on freely" }
    }
}

extension BlackBoxOutput.Position {
    init(_ code: CodeLine, _ mode: CPUMode) {
        cs = Hex(code.selector)
        ip = Hex(code.ip)
        linear = Hex(code.address)
        bytes = Hex.bytes(code.bytes)
        text = code.text
        symbol = code.place?.description
        digits = mode.offsetDigits
    }

    /// `0008:00007c4b (start): ud2 ; 0f0b`
    fileprivate var styled: StyledLine {
        var line = StyledLine(
            Hex.digits(cs.value, width: 4) + ":" + Hex.digits(ip.value, width: digits), .address)
        if let symbol { line.append(" (\(symbol))", .symbol) }
        line.append(": ")
        line.append(text, .mnemonic)
        if !bytes.isEmpty { line.append(" ; " + bytes, .dim) }
        return line
    }
}

extension BlackBoxOutput.Fault {
    init(_ fault: BlackBox.Fault) {
        origin = fault.origin.rawValue
        mode = fault.mode.rawValue
        position = fault.code.map { BlackBoxOutput.Position($0, fault.mode) }
        registers = RegisterSummary.values(fault.registers)
        for (name, value) in RegisterSummary.system(fault.special) { registers[name] = value }
        chain = fault.chain.links.map { link in
            let isReal = fault.mode == .real
            let isINT = link.cause == .softwareInterrupt
            let name =
                isINT
                ? ExceptionName.software(link.vector, inRealMode: isReal)
                : ExceptionName.full(link.vector, inRealMode: isReal)
            let isException = !isINT && InterruptVector.isException(link.vector, inRealMode: isReal)
            return BlackBoxOutput.Link(
                vector: Int(link.vector), name: name,
                errorCode: link.errorCode.map { Hex($0) }, cause: link.cause?.text,
                walk: link.cause?.walk.map { PageWalkOutput(vcpu: 0, $0) },
                shortName: isException ? ExceptionName.short(link.vector) : name)
        }
        reported = fault.reported.map {
            BlackBoxOutput.Reported(
                vector: Int($0.vector),
                name: ExceptionName.full($0.vector, inRealMode: fault.mode == .real),
                errorCode: $0.errorCode.map { Hex($0) })
        }
        switch fault.chain.end {
        case .shutdown:
            end = "shutdown"
            conclusion = "The double fault could not be delivered: the processor shut down."
        case .reachesHandler(let linear):
            end = "reachesHandler"
            conclusion =
                "As memory is now, the handler at \(Hex(linear)) would be reached: what went wrong is not to be seen "
                + "any more."
        case .taskGate(let selector):
            end = "taskGate"
            conclusion =
                "It goes on to the task of selector \(Hex.padded(selector, width: 4)), which is not followed."
        case .unreadable(let gpa):
            end = "unreadable"
            conclusion = "What would tell more is at physical \(Hex(gpa)), where no memory is."
        case .unknown:
            end = "unknown"
            conclusion =
                fault.origin == .lost
                ? "The host's KVM had reset the vCPU when it said so, and nothing was stepped: step up to the fault to see it; `run stepping` does so from the start."
                : "The instruction has no fault that can be seen: an interrupt or NMI may have come before it."
        }
    }

    fileprivate func lines(vcpu: Int, width: Int) -> [StyledLine] {
        var head = StyledLine("vCPU \(vcpu) died of a triple fault", .error)
        if let position {
            head.append(" at ")
            head.append(position.styled)
        }
        var lines = [head]
        if origin == "lastStep" {
            lines.append(
                StyledLine("The host's KVM reset the vCPU; this is the state before the last step.", .warning)
            )
        }
        if origin != "lost" { lines += RegisterSummary.lines(registers, mode: mode) }
        for (place, link) in chain.enumerated() {
            var line = StyledLine(" \(place + 1). ", .dim)
            if place > 0, link.cause != nil {
                line.append("delivering \(chain[place - 1].shortName) raises ")
            }
            line.append(link.name, .heading)
            if let code = link.errorCode { line.append(" (error code \(code))") }
            if let cause = link.cause {
                line.append(": \(cause)")
            } else if place > 0 {
                line.append(": two exceptions, one within the other, make it")
            }
            lines.append(line)
            if let walk = link.walk, !walk.steps.isEmpty {
                lines += walk.lines(width: width).dropFirst().dropLast().map { row in
                    var line = StyledLine("    ")
                    line.append(row)
                    return line
                }
            }
        }
        if let reported {
            var line = StyledLine("The exception that KVM noted last: ")
            line.append(reported.name, .heading)
            if let code = reported.errorCode { line.append(" (error code \(code))") }
            line.append(".")
            lines.append(line)
        }
        lines.append(StyledLine(conclusion, end == "shutdown" ? .plain : .warning))
        return lines
    }
}
