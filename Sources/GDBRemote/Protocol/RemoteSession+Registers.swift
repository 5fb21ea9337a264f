import Debugger

/// Registers as the layout has them.
extension RemoteSession {
    func readRegisters(_ reader: inout PacketReader) throws(RemoteFailure) -> RemoteReply {
        let id = try suffixVCPU(&reader)
        guard reader.isAtEnd else { throw .malformed("request for registers") }
        let snapshot = try attempt { () throws(DebuggerError) in try bank.snapshot(id) }
        var text: [UInt8] = []
        for register in layout.registers.prefix(layout.blockCount) {
            text += bank.text(register, of: snapshot)
        }
        return .bytes(text)
    }

    /// Those that differ are set: what a client does not know it has not changed.
    func writeRegisters(_ reader: inout PacketReader) throws(RemoteFailure) -> RemoteReply {
        let digits = reader.word(until: ";")
        let id = try suffixVCPU(&reader)
        let registers = layout.registers.prefix(layout.blockCount)
        let size = registers.reduce(0) { $0 + $1.size }
        guard let bytes = hexBytes(Array(digits.utf8)), bytes.count == size, reader.isAtEnd else {
            throw RemoteFailure(
                .malformed, "\(size) bytes of registers are wanted, as \(size * 2) hexadecimal digits")
        }
        let snapshot = try attempt { () throws(DebuggerError) in try bank.snapshot(id) }
        var place = 0
        for register in registers {
            let value = Array(bytes[place..<place + register.size])
            place += register.size
            guard bank.value(register, of: snapshot) != value else { continue }
            try attempt { () throws(DebuggerError) in try bank.set(register, value, vcpu: id) }
        }
        return .ok
    }

    func readRegister(_ reader: inout PacketReader) throws(RemoteFailure) -> RemoteReply {
        let register = try register(&reader)
        let id = try suffixVCPU(&reader)
        guard reader.isAtEnd else { throw .malformed("request for a register") }
        let snapshot = try attempt { () throws(DebuggerError) in try bank.snapshot(id) }
        return .bytes(bank.text(register, of: snapshot))
    }

    func writeRegister(_ reader: inout PacketReader) throws(RemoteFailure) -> RemoteReply {
        let register = try register(&reader)
        guard reader.skip("=") else { throw .malformed("request to set a register") }
        let digits = reader.word(until: ";")
        let id = try suffixVCPU(&reader)
        guard let bytes = hexBytes(Array(digits.utf8)), bytes.count == register.size, reader.isAtEnd else {
            throw RemoteFailure(.malformed, "\(register.name) has \(register.size * 2) hexadecimal digits")
        }
        try attempt { () throws(DebuggerError) in try bank.set(register, bytes, vcpu: id) }
        return .ok
    }

    private func register(_ reader: inout PacketReader) throws(RemoteFailure) -> RemoteRegister {
        guard let number = reader.number() else { throw .malformed("number of a register") }
        guard let register = layout[number] else {
            throw RemoteFailure(
                .malformed, "there is no register \(number); there are \(layout.registers.count)")
        }
        return register
    }
}
