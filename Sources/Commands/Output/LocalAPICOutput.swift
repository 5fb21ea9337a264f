import X86

/// `info lapic`: the registers that say something, decoded.
public struct LocalAPICOutput: CommandOutput, Hashable {
    public struct Register: Sendable, Hashable, Encodable {
        public var name: String
        public var offset: Hex
        public var value: Hex
        public var meaning: String
    }

    public var vcpu: Int
    public var id: UInt8
    public var isEnabled: Bool
    public var registers: [Register]
    public var inService: [UInt8]
    public var requested: [UInt8]
    public var levelTriggered: [UInt8]
    public var timerDivisor: Int

    init(vcpu: Int, _ state: LocalAPICState) {
        self.vcpu = vcpu
        id = state.id
        isEnabled = state.isEnabled
        inService = state.vectors(.isr)
        requested = state.vectors(.irr)
        levelTriggered = state.vectors(.tmr)
        timerDivisor = state.timerDivisor
        registers = LocalAPICRegister.all.compactMap { register in
            // The three sets of vectors have lists of their own.
            guard LocalAPICState.VectorSet(rawValue: register.offset) == nil else { return nil }
            let value = state[register.offset]
            var meaning = register.meaning
            if register.isLocalVector {
                let entry = LocalVector(rawValue: value)
                meaning += ": \(entry)"
                if register.offset == 0x320 { meaning += ", \(entry.timerMode.title)" }
            } else if register.offset == 0x300 {
                meaning += ": \(InterruptCommand(state))"
            } else if register.offset == 0x3E0 {
                meaning += ": by \(state.timerDivisor)"
            }
            return Register(
                name: register.name, offset: Hex(register.offset), value: Hex(value), meaning: meaning)
        }
    }

    public func lines(width: Int) -> [StyledLine] {
        var head = StyledLine("Local APIC of vCPU \(vcpu)", .heading)
        head.append(": id \(id), \(isEnabled ? "enabled" : "disabled by software")")
        var table = TextTable(["Register", "Off", "Value", "Meaning"])
        for register in registers {
            table.add([
                .init(register.name), .init(Hex.digits(register.offset.value, width: 3), .dim),
                .init(Hex.digits(register.value.value, width: 8), .value), .init(register.meaning, .dim),
            ])
        }
        let sets = [("in service", inService), ("requested", requested), ("level", levelTriggered)]
        return [head] + table.lines
            + sets.map { name, vectors in
                var line = StyledLine(name.padded(14), .dim)
                line.append(
                    vectors.isEmpty ? "none" : vectors.map { Hex.digits($0, width: 2) }.joined(separator: " ")
                )
                return line
            }
    }
}

extension LocalVector.TimerMode {
    fileprivate var title: String {
        switch self {
        case .oneShot: "one-shot"
        case .periodic: "periodic"
        case .tscDeadline: "TSC deadline"
        case .reserved: "reserved mode"
        }
    }
}
