/// What kind of register a name stands for: how a display groups them.
public enum RegisterGroup: String, Sendable, Hashable, CaseIterable {
    /// As displays show them, one after the other.
    case general, flags, segment, control, debug, table
}

/// A register, a part of one, or a field of one, that can be shown and edited by name.
///
/// Names are the manual's and GDB's, in any case, with or without GDB's `$`. `sp`, `fp`, `pc` and `ps` are
/// GDB's: all of RSP, RBP and RIP, and EFLAGS. Fields are written `cs.base`, `gdtr.limit`, `cr0.pe`.
public struct RegisterName: Sendable, Hashable, CustomStringConvertible {
    /// The one name that ``all`` lists it by, in lower case.
    public let name: String
    /// In bits, 1 to 64.
    public let width: Int
    /// How a display groups it.
    public let group: RegisterGroup
    let field: RegisterField
    /// Where the field begins in what it is a part of.
    let shift: Int

    init(_ name: String, _ width: Int, _ group: RegisterGroup, _ field: RegisterField, shift: Int = 0) {
        self.name = name
        self.width = width
        self.group = group
        self.field = field
        self.shift = shift
    }

    /// Nil where no register has that name.
    public init?(_ text: some StringProtocol) {
        var key = text.lowercased()
        if key.hasPrefix("$") { key.removeFirst() }
        guard let found = RegisterCatalogue.bySpelling[key] else { return nil }
        self = found
    }

    /// As ``init(_:)``, with an error for people.
    public init(parsing text: some StringProtocol) throws(UnknownRegister) {
        guard let found = RegisterName(text) else { throw UnknownRegister(name: String(text)) }
        self = found
    }

    /// The same as ``name``.
    public var description: String { name }

    /// The largest value that fits.
    public var mask: UInt64 { width == 64 ? .max : (1 << UInt64(width)) - 1 }

    /// The segment register that a write loads: for `cs` to `ldt`, not for `cs.selector`.
    public var loadedSegment: SegmentName? {
        if case .segmentRegister(let segment) = field { segment } else { nil }
    }

    /// The segment that a register's value counts from where it is an address: CS of the instruction pointer, SS of the
    /// stack pointer and of the frame pointer.
    public var addressedSegment: SegmentName? {
        guard case .general(let register) = field, width >= 16 else { return nil }
        return switch register {
        case .rip: .cs
        case .rsp, .rbp: .ss
        default: nil
        }
    }

    /// Every register once, in the order of display.
    public static var all: [RegisterName] { RegisterCatalogue.all }

    /// Every name that ``init(_:)`` accepts, in lower case, without `$`: the order is that of ``all``, then
    /// the aliases.
    public static var spellings: [String] { RegisterCatalogue.spellings }

    /// The names nearest to `text`, best first; none where nothing is near.
    public static func suggestions(for text: some StringProtocol, limit: Int = 3) -> [String] {
        var key = text.lowercased()
        if key.hasPrefix("$") { key.removeFirst() }
        return nearest(to: key, among: spellings, limit: limit)
    }
}

/// Where a register's value is kept.
enum RegisterField: Sendable, Hashable {
    case general(GeneralRegister)
    case rflags
    /// The selector, which a write loads as the processor does.
    case segmentRegister(SegmentName)
    /// The selector alone.
    case segmentSelector(SegmentName)
    case segmentBase(SegmentName)
    case segmentLimit(SegmentName)
    case segmentAttributes(SegmentName)
    case gdtBase, gdtLimit, idtBase, idtLimit
    case cr0, cr2, cr3, cr4, cr8, efer, apicBase
    case debugAddress(Int)
    case dr6, dr7
}

/// A name that no register has.
public struct UnknownRegister: Error, Sendable, Hashable, CustomStringConvertible {
    /// What was typed.
    public var name: String
    /// Names that look like it, best first.
    public var suggestions: [String]

    /// - Parameter name: what was typed.
    public init(name: String) {
        self.name = name
        suggestions = RegisterName.suggestions(for: name)
    }

    /// The name, and those that are nearest to it: one line for people.
    public var description: String {
        guard !suggestions.isEmpty else { return "there is no register '\(name.shortened)'" }
        return
            "there is no register '\(name.shortened)'; did you mean \(suggestions.joined(separator: ", "))?"
    }
}
