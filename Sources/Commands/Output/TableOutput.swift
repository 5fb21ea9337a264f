import Debugger
import X86

/// `info gdt`, `info ldt`, `info idt` and `info ivt`.
public struct TableOutput: CommandOutput, Hashable {
    public struct Row: Sendable, Hashable, Encodable {
        public var index: Int
        /// Of a GDT's or LDT's entry.
        public var selector: Hex?
        /// Linear.
        public var address: Hex
        public var low: Hex
        /// Absent for entries of eight bytes and less.
        public var high: Hex?
        public var text: String
        /// What the vector is for.
        public var meaning: String?
        /// The segment registers that hold the selector.
        public var registers: [String]
    }

    public var vcpu: Int
    /// "gdt", "ldt", "idt" or "ivt".
    public var table: String
    public var base: Hex
    public var limit: Hex
    public var entries: [Row]
    /// Entries that are null, and not listed.
    public var nulls: Int
    /// The first index that could not be read.
    public var unreadable: Int?
    public var isCut: Bool

    /// - Parameter showsNulls: they were asked for one by one.
    init(vcpu: Int, _ view: TableView, _ special: SpecialRegisters, showsNulls: Bool) {
        self.vcpu = vcpu
        table = view.name.rawValue
        base = Hex(view.base)
        limit = Hex(view.limit)
        unreadable = view.unreadable
        isCut = view.isCut
        let shown = view.entries.filter { showsNulls || !Self.isNull($0, view.name) }
        nulls = view.entries.count - shown.count
        entries = shown.map { entry in
            let isSegments = view.name == .gdt || view.name == .ldt
            let selector = UInt16(truncatingIfNeeded: entry.index << 3 | (view.name == .ldt ? 4 : 0))
            let vector = UInt8(exactly: entry.index)
            return Row(
                index: entry.index, selector: isSegments ? Hex(selector) : nil, address: Hex(entry.address),
                low: Hex(entry.low), high: entry.size == 16 ? Hex(entry.high) : nil,
                text: view.name == .ivt
                    ? Self.vectorText(entry) : entry.descriptor.description,
                meaning: view.name == .ivt
                    ? vector.flatMap(InterruptVector.realMode)
                    : view.name == .idt ? vector.flatMap(InterruptVector.exception) : nil,
                registers: isSegments
                    ? SegmentName.allCases.filter {
                        !special[$0].attributes.isUnusable && special[$0].selector & ~3 == selector
                            && selector & ~7 != 0
                    }.map(\.rawValue) : [])
        }
    }

    private static func isNull(_ entry: TableView.Entry, _ name: TableName) -> Bool {
        name == .ivt ? entry.low == 0 : entry.descriptor == .null
    }

    private static func vectorText(_ entry: TableView.Entry) -> String {
        guard case .gate(let gate) = entry.descriptor else { return "" }
        return gate.target.text(digits: 4)
    }

    /// How many vectors in a row have the first one's handler, and none of them a name of its own: one line for all.
    private func likeFirst(_ rows: ArraySlice<Row>) -> Int {
        guard let first = rows.first, first.selector == nil, first.meaning == nil else { return 1 }
        let alike = zip(rows, rows.dropFirst()).prefix { last, row in
            row.index == last.index + 1 && row.meaning == nil && row.low == first.low
                && row.high == first.high
        }
        return alike.count + 1
    }

    public func lines(width: Int) -> [StyledLine] {
        var head = StyledLine("\(table.uppercased()) of vCPU \(vcpu)", .heading)
        head.append(": base \(base) limit \(limit)")
        var result = [head]
        var next = 0
        while next < entries.count {
            let row = entries[next]
            let count = likeFirst(entries[next...])
            next += count
            var name = row.selector.map { Hex.digits($0.value, width: 4) } ?? Hex.digits(row.index, width: 2)
            if count > 1 { name += "-" + Hex.digits(entries[next - 1].index, width: 2) }
            var line = StyledLine(name, .address)
            line.append("  ")
            if let high = row.high { line.append(Hex.digits(high.value, width: 16), .dim) }
            line.append(Hex.digits(row.low.value, width: table == "ivt" ? 8 : 16) + "  ", .dim)
            line.append(row.text)
            if let meaning = row.meaning { line.append("  " + meaning, .dim) }
            if count > 1 { line.append("  \(count) vectors", .dim) }
            if !row.registers.isEmpty { line.append("  <- " + row.registers.joined(separator: " "), .symbol) }
            result.append(line)
        }
        if nulls > 0 {
            result.append(StyledLine("\(counted(nulls, "null entry", "null entries")) not shown", .dim))
        }
        if isCut { result.append(StyledLine("There are more: give the index to go on from.", .warning)) }
        if let unreadable {
            result.append(StyledLine("Entry \(unreadable) cannot be read, nor what follows.", .warning))
        }
        return result
    }
}

/// "1 entry", "2 entries".
func counted(_ number: some BinaryInteger, _ noun: String, _ plural: String) -> String {
    "\(grouped(number)) \(number == 1 ? noun : plural)"
}
