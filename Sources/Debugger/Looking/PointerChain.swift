public import Disassembler
public import X86

/// Where a value leads: what it points at, what that points at, and so on, as pwndbg's telescope has it.
public struct PointerChain: Sendable, Hashable {
    /// One place on the way.
    public struct Link: Sendable, Hashable {
        /// Where it is.
        public var linear: UInt64
        /// What stands there, of the mode's width.
        public var value: UInt64
        public init(linear: UInt64, value: UInt64) {
            self.linear = linear
            self.value = value
        }
    }

    /// What the last link's place holds.
    public enum End: Sendable, Hashable {
        /// A value that leads nowhere.
        case value
        /// Text: four printable characters at least, up to the first that is none.
        case text(String)
        /// Code: the page is executable and not writable.
        case code(Instruction)
        /// A place that the chain has been at.
        case loop
        /// There is more, and no more was asked for.
        case more
    }

    /// In bytes: 2, 4 or 8.
    public var width: Int
    /// None where the value points at nothing.
    public var links: [Link]
    public var end: End

    public init(width: Int, links: [Link] = [], end: End = .value) {
        self.width = width
        self.links = links
        self.end = end
    }
}

extension Debugger {
    /// Characters of a chain's text.
    private static let longestText = 48

    /// Follows `value` from pointer to pointer.
    ///
    /// In 16-bit code every value is an offset of some byte, so it is followed once and no further. Elsewhere
    /// values below 4 KiB are numbers, as in C.
    /// - Parameters:
    ///   - segment: whose offset the value is; its base is that of the links after it, too.
    ///   - limit: of links.
    public func chain(
        from value: UInt64, in segment: SegmentName = .ds, limit: Int = 4, vcpu id: Int? = nil
    ) throws(DebuggerError) -> PointerChain {
        let snapshot = try known(id)
        let width = snapshot.mode.codeWidth(cs: snapshot.special.cs.attributes) / 8
        return chain(
            from: value, in: segment, width: width, limit: width == 2 ? min(limit, 1) : limit, snapshot)
    }

    private func chain(
        from value: UInt64, in segment: SegmentName, width: Int, limit: Int, _ snapshot: VCPUSnapshot
    ) -> PointerChain {
        let view = view(of: snapshot)
        var chain = PointerChain(width: width)
        var seen: Set<UInt64> = []
        var pointer = value
        while isPointer(pointer, width) {
            let linear = snapshot.special.linear(segment, pointer, mode: snapshot.mode)
            guard seen.insert(linear).inserted else {
                chain.end = .loop
                return chain
            }
            guard let next = view.word(linear, size: width) else { return chain }
            guard chain.links.count < limit else {
                chain.end = .more
                return chain
            }
            chain.links.append(PointerChain.Link(linear: linear, value: next))
            if let end = Self.end(at: linear, view, snapshot) {
                chain.end = end
                return chain
            }
            // Its one link is all that is said of a 16-bit value.
            if width == 2 { return chain }
            pointer = next
        }
        return chain
    }

    /// The CALL whose return address `value` is: the instruction that ends there, if it is one. A guess, as any on
    /// a stack is.
    public func call(returningTo value: UInt64, vcpu id: Int? = nil) -> Instruction? {
        guard let snapshot = try? known(id) else { return nil }
        let mode = DecodeMode(snapshot.registers, snapshot.special)
        let longest = 7
        guard value >= UInt64(longest), value >> UInt64(mode.width - 1) <= 1 else { return nil }
        let linear = snapshot.special.linear(.cs, value &- UInt64(longest), mode: snapshot.mode)
        let image = view(of: snapshot).read(linear, count: longest, .linear(linear))
        guard image.isComplete else { return nil }
        // Near ones by displacement, which nearly all are, before those through a register or memory.
        for length in [mode.width == 16 ? 3 : 5, 2, 3, 4, 5, 6, 7] {
            let bytes = image.bytes.suffix(length)
            // E8, FF and 9A begin all calls, behind a prefix or two.
            guard bytes.prefix(3).contains(where: { [0xE8, 0xFF, 0x9A].contains($0) }) else { continue }
            let instruction = Disassembler().decode(bytes, at: value &- UInt64(length), mode)
            if instruction.validity == .valid, instruction.length == length,
                instruction.traits.contains(.call)
            {
                return instruction
            }
        }
        return nil
    }

    private func isPointer(_ value: UInt64, _ width: Int) -> Bool {
        switch width {
        case 2: value <= 0xFFFF
        case 4: value >= 4096 && value <= UInt64(UInt32.max)
        default: value >= 4096
        }
    }

    /// What a chain ends at, where it is no pointer: text or code.
    private static func end(
        at linear: UInt64, _ view: LinearMemory, _ snapshot: VCPUSnapshot
    ) -> PointerChain.End? {
        let bytes = view.read(linear, count: longestText, .linear(linear)).leading
        let text = bytes.prefix { (0x20..<0x7F).contains($0) }
        if text.count >= 4 { return .text(String(decoding: text, as: UTF8.self)) }
        guard snapshot.special.cr0.contains(.pg), case .mapped(let mapping) = view.walk(linear).outcome,
            mapping.isExecutable, !mapping.isWritable
        else { return nil }
        let base = snapshot.mode == .long64 ? 0 : snapshot.special.cs.base
        let instruction = Disassembler().decode(
            bytes, at: linear &- base, DecodeMode(snapshot.registers, snapshot.special))
        return instruction.validity == .valid ? .code(instruction) : nil
    }
}
