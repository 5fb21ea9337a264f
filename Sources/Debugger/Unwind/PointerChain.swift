import DebugTarget
import Disassembler
public import X86

/// Where a pointer leads, and where what stands there leads.
public struct PointerChain: Sendable, Hashable {
    public enum End: Sendable, Hashable {
        /// What stands at the last address is no pointer.
        case value(UInt64)
        /// Text stands at the last address: four characters at least, cut at 64.
        case string(String, isCut: Bool)
        /// Code stands at the last address; the instruction.
        case code(String)
        /// The last address leads back to an earlier one.
        case loop(to: UInt64)
        /// The chain is longer than was asked for.
        case more
    }

    /// The addresses, each standing where the one before points to.
    public var addresses: [UInt64]
    public var end: End

    public init(addresses: [UInt64], end: End) {
        self.addresses = addresses
        self.end = end
    }
}

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
    /// Nil where the value is no pointer.
    public var chain: PointerChain?
}

extension Debugger {
    /// Follows a pointer as far as it leads, `depth` steps at most; nil for what points to no memory.
    ///
    /// A number below 4096 counts as a number, and in 16-bit modes every number does: there all of them point
    /// somewhere. In protected mode the pointer is an offset in DS.
    public func pointerChain(
        from pointer: UInt64, depth: Int = 5, vcpu id: Int? = nil
    ) throws(DebuggerError) -> PointerChain? {
        let snapshot = try known(id)
        return chain(pointer, depth, snapshot, view(of: snapshot))
    }

    private func chain(
        _ pointer: UInt64, _ depth: Int, _ snapshot: VCPUSnapshot, _ view: LinearMemory
    ) -> PointerChain? {
        let width = snapshot.mode.codeWidth / 8
        guard width >= 4, isPointer(pointer, snapshot, view) else { return nil }
        var chain = PointerChain(addresses: [pointer], end: .more)
        while true {
            let last = chain.addresses[chain.addresses.count - 1]
            let linear = snapshot.special.linear(.ds, last, mode: snapshot.mode)
            guard let value = view.word(linear, size: width) else {
                // The word crosses into what is not there: its first byte is.
                chain.end = .value(view.word(linear, size: 1) ?? 0)
                return chain
            }
            guard isPointer(value, snapshot, view) else {
                chain.end = meaning(of: linear, value, snapshot, view)
                return chain
            }
            if chain.addresses.contains(value) {
                chain.end = .loop(to: value)
                return chain
            }
            guard chain.addresses.count < depth else { return chain }
            chain.addresses.append(value)
        }
    }

    private func isPointer(_ value: UInt64, _ snapshot: VCPUSnapshot, _ view: LinearMemory) -> Bool {
        guard value >= 4096, snapshot.mode == .long64 || value <= 0xFFFF_FFFF else { return false }
        let linear = snapshot.special.linear(.ds, value, mode: snapshot.mode)
        guard let gpa = view.physical(linear) else { return false }
        return view.memory.word(gpa, size: 1) != nil
    }

    /// What stands at an address that leads no further.
    private func meaning(
        of linear: UInt64, _ value: UInt64, _ snapshot: VCPUSnapshot, _ view: LinearMemory
    ) -> PointerChain.End {
        let image = view.read(linear, count: 65, .linear(linear))
        let text = image.leading.prefix { (0x20..<0x7F).contains($0) || $0 == 9 || $0 == 10 || $0 == 13 }
        let isEnded = text.endIndex < image.leading.endIndex && image.bytes[text.endIndex] == 0
        if text.count >= 4, isEnded || text.count >= 16 {
            return .string(String(decoding: text.prefix(64), as: UTF8.self), isCut: text.count > 64)
        }
        // Only where the guest keeps code and data apart can one be told from the other.
        if let mapping = view.walk(linear).mapping, snapshot.special.cr0.contains(.pg), mapping.isExecutable,
            !mapping.isWritable
        {
            let mode = DecodeMode(snapshot.registers, snapshot.special)
            let instruction = disassembler.decode(
                image.leading.prefix(Instruction.maximumLength), at: linear, mode)
            if instruction.validity == .valid { return .code(instruction.text) }
        }
        return .value(value)
    }

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
                advice: .giveLinearAddress)
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
                chain: value.flatMap { chain($0, 5, snapshot, view) })
        }
    }

    private func offset(of address: Address) -> UInt64? {
        switch address {
        case .segmented(_, let offset): offset
        case .linear(let value), .virtual(let value), .physical(let value): value
        }
    }
}
