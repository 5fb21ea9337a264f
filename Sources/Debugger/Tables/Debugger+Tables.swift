import DebugTarget
public import X86

/// Which table of descriptors.
public enum TableName: String, Sendable, Hashable, CaseIterable {
    case gdt, ldt, idt
    /// The interrupt table of real mode: the IDTR's base with four bytes an entry.
    case ivt
}

/// A descriptor table as it stands in memory.
public struct TableView: Sendable, Hashable {
    public struct Entry: Sendable, Hashable {
        public var index: Int
        /// Linear, of the first byte.
        public var address: UInt64
        /// In bytes: 4, 8 or 16.
        public var size: Int
        public var low: UInt64
        public var high: UInt64
        public var descriptor: Descriptor
    }

    public var name: TableName
    public var base: UInt64
    public var limit: UInt64
    /// Those that could be read, in order.
    public var entries: [Entry] = []
    /// The first that could not be read.
    public var unreadable: Int?
    /// There are more than were asked for.
    public var isCut = false
}

extension Debugger {
    /// The entries of a table, decoded by the vCPU's mode.
    /// - Parameters:
    ///   - first: the index to begin with.
    ///   - count: of entries, at most.
    /// - Throws: `.refused` for an LDT where none is loaded.
    public func table(
        _ name: TableName, from first: Int = 0, count: Int, vcpu id: Int? = nil
    ) throws(DebuggerError) -> TableView {
        let snapshot = try known(id)
        let special = snapshot.special
        let view = view(of: snapshot)
        let inLongMode = special.efer.contains(.lma)
        let (base, limit) = try Self.place(name, special)
        var table = TableView(name: name, base: base, limit: limit)
        // An IDT of IA-32e mode has sixteen bytes an entry; in a GDT only system descriptors have.
        let stride: UInt64 = name == .ivt ? 4 : name == .idt && inLongMode ? 16 : 8
        var index = max(first, 0)
        while UInt64(index) * stride + stride - 1 <= limit {
            guard table.entries.count < count else {
                table.isCut = true
                break
            }
            let address = view.cut(base &+ UInt64(index) &* stride)
            guard let low = view.word(address, size: Int(min(stride, 8))) else {
                table.unreadable = index
                break
            }
            var entry = TableView.Entry(
                index: index, address: address, size: Int(stride), low: low, high: 0, descriptor: .null)
            if name == .ivt {
                entry.descriptor = .gate(
                    Descriptor.Gate(realModeVector: UInt32(truncatingIfNeeded: low)))
            } else {
                entry.size = name == .idt ? Int(stride) : Descriptor.size(low: low, inLongMode: inLongMode)
                if entry.size == 16 { entry.high = view.word(view.cut(address &+ 8), size: 8) ?? 0 }
                entry.descriptor = Descriptor(low: low, high: entry.high, inLongMode: inLongMode)
            }
            table.entries.append(entry)
            index += max(1, entry.size / Int(stride))
        }
        return table
    }

    /// The linear address of a table's entry, whether the limit reaches it or not.
    public func tableEntry(
        _ name: TableName, _ index: UInt64, vcpu id: Int? = nil
    ) throws(DebuggerError) -> (address: UInt64, size: Int) {
        let special = try known(id).special
        let (base, _) = try Self.place(name, special)
        let size: UInt64 = name == .ivt ? 4 : name == .idt && special.efer.contains(.lma) ? 16 : 8
        guard index < 8192 else {
            throw DebuggerError(
                .outOfRange, "\(index) is no index of a descriptor table", remedy: "give 0 to 8191")
        }
        return (base &+ index &* size, Int(size))
    }

    private static func place(
        _ name: TableName, _ special: SpecialRegisters
    ) throws(DebuggerError) -> (base: UInt64, limit: UInt64) {
        switch name {
        case .gdt: return (special.gdt.base, UInt64(special.gdt.limit))
        case .idt, .ivt: return (special.idt.base, UInt64(special.idt.limit))
        case .ldt:
            guard !special.ldt.attributes.isUnusable, special.ldt.selector & ~3 != 0 else {
                throw DebuggerError(
                    .refused,
                    "no LDT is loaded (LDTR is \(hexadecimal(UInt64(special.ldt.selector), digits: 4)))")
            }
            return (special.ldt.base, UInt64(special.ldt.limit))
        }
    }

    /// The task state that TR names, field by field.
    public func taskState(vcpu id: Int? = nil) throws(DebuggerError) -> (Segment, TaskState) {
        let snapshot = try known(id)
        let register = snapshot.special.tr
        guard !register.attributes.isUnusable else {
            throw DebuggerError(.refused, "no TSS is loaded (TR is unusable)")
        }
        let view = view(of: snapshot)
        let state = TaskState(
            register.attributes, inLongMode: snapshot.special.efer.contains(.lma)
        ) { offset, width in
            view.word(view.cut(register.base &+ UInt64(offset)), size: width)
        }
        return (register, state)
    }
}
