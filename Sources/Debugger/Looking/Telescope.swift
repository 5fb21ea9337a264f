import X86

/// A word of memory and where it leads.
public struct TelescopeRow: Sendable, Hashable {
    /// As it would be written to get there.
    public var address: Address
    public var linear: UInt64
    /// In bytes: 2, 4 or 8.
    public var width: Int
    /// Nil where it cannot be read.
    public var value: UInt64?
    /// The registers that hold this address.
    public var registers: [String]
    /// Nil where the value cannot be read; without links where it is no pointer.
    public var chain: PointerChain?
}

extension Debugger {
    /// Words of memory from `address` on (the stack's top by default), each with where it leads.
    public func telescope(
        at address: Address? = nil, count: Int, vcpu id: Int? = nil
    ) throws(DebuggerError) -> [TelescopeRow] {
        let snapshot = try known(id)
        let special = snapshot.special
        let isStack = address == nil
        let width =
            isStack ? snapshot.mode.stackWidth(ss: special.ss.attributes) : snapshot.mode.codeWidth / 8
        let mask: UInt64 = width == 8 ? .max : (1 << UInt64(width * 8)) - 1
        let start = address ?? .segmented(.register(.ss), offset: snapshot.registers.rsp & mask)
        if case .physical = start {
            throw DebuggerError(
                .badAddress, "\(start) is a physical address, and pointers are linear ones",
                remedy: "give one without `p:`")
        }
        let view = view(of: snapshot)
        let registers = GeneralRegister.allCases
        let first = try linear(start, vcpu: id)
        return (0..<min(max(count, 0), 1 << 16)).map { index in
            let distance = index * width
            let linear = view.cut(first &+ UInt64(distance))
            let value = view.word(linear, size: width)
            let offset = offset(of: start.advanced(by: distance)) ?? linear
            return TelescopeRow(
                address: start.advanced(by: distance), linear: linear, width: width, value: value,
                registers: registers.filter { snapshot.registers[$0] & mask == offset && offset != 0 }
                    .map { "\($0)" },
                chain: value.flatMap { try? chain(from: $0, limit: 5, vcpu: snapshot.id) })
        }
    }

    private func offset(of address: Address) -> UInt64? {
        switch address {
        case .segmented(_, let offset): offset
        case .linear(let value), .virtual(let value), .physical(let value): value
        }
    }
}
