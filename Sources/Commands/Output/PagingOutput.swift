import Debugger
import X86

/// `page`: a page walk with each entry.
public struct PageWalkOutput: CommandOutput, Hashable {
    public struct Step: Sendable, Hashable, Encodable {
        /// "PML4E".
        public var entry: String
        /// Guest-physical, of the entry.
        public var address: Hex
        public var value: Hex
        /// The names of its bits that are set.
        public var flags: [String]
        var size: Int

        private enum CodingKeys: String, CodingKey { case entry, address, value, flags }
    }

    public var vcpu: Int
    public var linear: Hex
    /// "none", "bits32", "pae", "level4", "level5".
    public var mode: String
    public var steps: [Step]
    /// Absent where the walk fails.
    public var physical: Hex?
    /// In bytes; absent where the walk fails or there is no paging.
    public var pageSize: Hex?
    public var isWritable: Bool?
    public var isUser: Bool?
    public var isExecutable: Bool?
    /// How it ended, in words.
    public var outcome: String
    private var title: String

    private enum CodingKeys: String, CodingKey {
        case vcpu, linear, mode, steps, physical, pageSize, isWritable, isUser, isExecutable, outcome
    }

    init(vcpu: Int, _ walk: PageWalk) {
        self.vcpu = vcpu
        linear = Hex(walk.linear)
        mode = walk.mode.rawValue
        title = walk.mode.title
        let entries = walk.steps
        steps = entries.map { step in
            let isLast = step == entries.last && walk.mapping != nil
            return Step(
                entry: step.level.rawValue, address: Hex(step.address), value: Hex(step.value),
                flags: Self.flags(step, mode: walk.mode, isPage: isLast), size: step.size)
        }
        physical = walk.gpa.map { Hex($0) }
        if walk.mode != .none, let mapping = walk.mapping {
            pageSize = Hex(mapping.pageSize)
            isWritable = mapping.isWritable
            isUser = mapping.isUser
            isExecutable = mapping.isExecutable
        }
        outcome = walk.mode == .none ? "paging is off: linear is physical" : "\(walk.outcome)"
    }

    /// Source: SDM volume 3A, tables 4-5 to 4-20.
    private static func flags(_ step: PageWalk.Step, mode: PagingMode, isPage: Bool) -> [String] {
        let isPointer = mode == .pae && step.level == .directoryPointers
        var names = [(0, "P")]
        if !isPointer { names += [(1, "RW"), (2, "US")] }
        names += [(3, "PWT"), (4, "PCD")]
        if !isPointer { names.append((5, "A")) }
        if isPage { names.append((6, "D")) }
        if step.level == .table { names.append((7, "PAT")) } else { names.append((7, "PS")) }
        if isPage { names.append((8, "G")) }
        if mode != .bits32 { names.append((63, "XD")) }
        return names.filter { step.value >> UInt64($0.0) & 1 == 1 }.map(\.1)
    }

    public func lines(width: Int) -> [StyledLine] {
        var head = StyledLine(linear.description, .address)
        head.append(
            mode == PagingMode.none.rawValue ? ", vCPU \(vcpu)" : ", \(title) paging of vCPU \(vcpu)")
        var result = [head]
        for step in steps {
            var line = StyledLine(" " + step.entry.padded(7), .dim)
            line.append("at ", .dim)
            line.append(Hex.padded(step.address.value, width: 9), .address)
            line.append(": ")
            line.append(Hex.digits(step.value.value, width: step.size * 2), .value)
            line.append("  " + step.flags.joined(separator: " "), .flagSet)
            result.append(line)
        }
        result.append(StyledLine(outcome, physical == nil ? .warning : .plain))
        return result
    }
}

/// `info mem` and `info tlb`: what the page tables map.
public struct PageMapOutput: CommandOutput, Hashable {
    public struct Row: Sendable, Hashable, Encodable {
        public var linear: Hex
        public var last: Hex
        /// Of the first page; absent where the pages are not one after the other in physical memory.
        public var physical: Hex?
        public var pages: Int
        /// Of the first page, in bytes.
        public var pageSize: Hex
        /// `rwx user`.
        public var permissions: String
        public var isGlobal: Bool
        public var isAccessed: Bool
        public var isDirty: Bool
        /// `4K`.
        var size: String

        private enum CodingKeys: String, CodingKey {
            case linear, last, physical, pages, pageSize, permissions, isGlobal, isAccessed, isDirty
        }
    }

    public struct Flaw: Sendable, Hashable, Encodable {
        public var linear: Hex
        public var text: String
    }

    public var vcpu: Int
    public var mode: String
    public var rows: [Row]
    /// Entries that map nothing though they are present.
    public var flaws: [Flaw]
    public var flawCount: Int
    /// "complete", "limit" or "interrupted".
    public var end: String
    private var title: String
    private var showsPages: Bool

    private enum CodingKeys: String, CodingKey { case vcpu, mode, rows, flaws, flawCount, end }

    init(vcpu: Int, _ map: PageMap, pages: Bool) {
        self.vcpu = vcpu
        mode = map.mode.rawValue
        title = map.mode.title
        showsPages = pages
        end = map.end.rawValue
        flawCount = map.flawCount
        flaws = map.flaws.map { Flaw(linear: Hex($0.linear), text: $0.text) }
        rows = map.runs.map { run in
            Row(
                linear: Hex(run.linear), last: Hex(run.last),
                physical: run.isContiguous ? Hex(run.mapping.gpa) : nil, pages: run.pages,
                pageSize: Hex(run.mapping.pageSize), permissions: run.mapping.permissions,
                isGlobal: run.mapping.isGlobal, isAccessed: run.mapping.isAccessed,
                isDirty: run.mapping.isDirty, size: run.mapping.sizeName)
        }
    }

    public func lines(width: Int) -> [StyledLine] {
        guard mode != PagingMode.none.rawValue else {
            return [StyledLine("Paging is off: all of 0 to 0xffffffff is as in physical memory.")]
        }
        let digits = rows.contains { $0.last.value >> 32 != 0 } ? 16 : 8
        var table =
            showsPages
            ? TextTable(["Linear", "Physical", "Page", "Allows", "Bits"])
            : TextTable(["From", "To", "Size", "Allows", "Physical"], rightAligned: [2])
        for row in rows {
            let first = StyledLine.Span(Hex.digits(row.linear.value, width: digits), .address)
            let physical = StyledLine.Span(
                row.physical.map { Hex.padded($0.value, width: 9) } ?? "in pieces", .address)
            if showsPages {
                let bits = [
                    row.isGlobal ? "G" : "-", row.isDirty ? "D" : "-", row.isAccessed ? "A" : "-",
                ]
                table.add([
                    first, physical, .init(row.size), .init(row.permissions),
                    .init(bits.joined(), .dim),
                ])
            } else {
                let size = row.last.value &- row.linear.value &+ 1
                table.add([
                    first, .init(Hex.digits(row.last.value, width: digits), .address),
                    .init(size == 0 ? "16 EiB" : shortSize(size)), .init(row.permissions), physical,
                ])
            }
        }
        var result = [StyledLine("\(title) paging of vCPU \(vcpu)", .dim)]
        if rows.isEmpty, flaws.isEmpty { return result + [StyledLine("Nothing is mapped.")] }
        result += table.lines
        result += flaws.prefix(20).map { StyledLine("\($0.linear): \($0.text)", .warning) }
        if flawCount > 20 {
            result.append(StyledLine("... and \(grouped(flawCount - 20)) more broken entries", .warning))
        }
        switch end {
        case LookEnd.limit.rawValue:
            result.append(StyledLine("There are more: give an address to go on from.", .warning))
        case LookEnd.interrupted.rawValue:
            result.append(StyledLine("Interrupted: there may be more.", .warning))
        default: break
        }
        return result
    }
}

/// `gva2gpa`, `gpa2hva` and `p2v`: an address in another space.
public struct AddressesOutput: CommandOutput, Hashable {
    public struct Place: Sendable, Hashable, Encodable {
        public var address: Hex
        /// What there is to say of it.
        public var note: String?
    }

    /// As it was given.
    public var address: String
    /// "physical", "linear" or "host".
    public var space: String
    public var places: [Place]
    /// "complete", "limit" or "interrupted".
    public var end: String

    public func lines(width: Int) -> [StyledLine] {
        let name = ["physical": "gpa", "host": "hva"][space] ?? space
        var result = places.map { place in
            var line = StyledLine("\(name): ", .dim)
            line.append(place.address.description, .address)
            if let note = place.note { line.append("  \(note)", .dim) }
            return line
        }
        if places.isEmpty { result.append(StyledLine("No linear address leads to \(address).")) }
        if end == LookEnd.limit.rawValue { result.append(StyledLine("There are more.", .warning)) }
        if end == LookEnd.interrupted.rawValue {
            result.append(StyledLine("Interrupted: there may be more.", .warning))
        }
        return result
    }
}
