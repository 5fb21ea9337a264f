import Debugger
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
    }

    public struct Fault: Sendable, Hashable, Encodable {
        /// "shutdown", "lastStep" or "lost".
        public var origin: String
        public var mode: String
        /// The instruction that began it.
        public var position: Position?
        public var registers: [String: Hex]
        public var chain: [Link]
        /// "shutdown", "reachesHandler", "taskGate", "unreadable" or "unknown".
        public var end: String
        /// In words.
        public var conclusion: String
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
        /// Those that it changed, as the next one's record shows.
        fileprivate var changes: String

        private enum CodingKeys: String, CodingKey { case number, position, registers }
    }

    public struct Exit: Sendable, Hashable, Encodable {
        public var number: UInt64
        public var exit: String
    }

    public var vcpu: Int
    /// Absent where the vCPU has not died of a triple fault.
    public var fault: Fault?
    /// The oldest first.
    public var steps: [Step]
    public var stepCount: UInt64
    public var exits: [Exit]

    init(_ box: BlackBox, last: GeneralRegisters?) {
        vcpu = box.vcpu
        fault = box.fault.map(Fault.init)
        stepCount = box.stepCount
        exits = box.exits.map { Exit(number: $0.number, exit: $0.exit.text) }
        let after = box.steps.dropFirst().map { Optional($0.record.registers) } + [last]
        steps = zip(box.steps, after).map { step, next in
            Step(
                number: step.record.number,
                position: Position(step.code, CPUMode(step.record.registers, step.record.special)),
                registers: RegisterSummary.values(step.record.registers),
                changes: step.record.isFree
                    ? "and on freely" : next.map { RegisterSummary.changes(step.record.registers, $0) } ?? "")
        }
    }

    public func lines(width: Int) -> [StyledLine] {
        var lines: [StyledLine] = []
        if let fault {
            lines += fault.lines(vcpu: vcpu, width: width)
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
            BlackBoxOutput.Link(
                vector: Int(link.vector), name: ExceptionName.full(link.vector),
                errorCode: link.errorCode.map { Hex($0) }, cause: link.cause?.text,
                walk: link.cause?.walk.map { PageWalkOutput(vcpu: 0, $0) })
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
                ? "The host's KVM had reset the vCPU when it said so, and nothing was stepped: step up to the fault to see it."
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
                line.append("delivering \(ExceptionName.short(UInt8(chain[place - 1].vector))) raises ")
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
        lines.append(StyledLine(conclusion, end == "shutdown" ? .plain : .warning))
        return lines
    }
}
