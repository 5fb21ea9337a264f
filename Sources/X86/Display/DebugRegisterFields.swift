/// DR6, the debug status. Source: SDM volume 3B, 17.2.3.
public struct DR6: FlagFields, Sendable, Hashable {
    /// The register's 64 bits.
    public var rawValue: UInt64
    /// - Parameter rawValue: the register's 64 bits.
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// Bits 4-10 and 16-31. BLD (11) and RTM (16) read as one unless their event happened: they are not
    /// fields here.
    public static var alwaysSet: UInt64 { 0xFFFF_0FF0 }
    /// Its flags, from bit 0 up.
    public static let fields: [FlagField] = [
        FlagField("b0", 0, "DR0 matched"), FlagField("b1", 1, "DR1 matched"),
        FlagField("b2", 2, "DR2 matched"), FlagField("b3", 3, "DR3 matched"),
        FlagField("bd", 13, "a debug register was accessed"), FlagField("bs", 14, "single step"),
        FlagField("bt", 15, "task switch"),
    ]
}

/// DR7, the debug control. Source: SDM volume 3B, 17.2.4.
public struct DR7: FlagFields, Sendable, Hashable {
    /// The register's 64 bits.
    public var rawValue: UInt64
    /// - Parameter rawValue: the register's 64 bits.
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// Bit 10.
    public static var alwaysSet: UInt64 { 1 << 10 }
    /// Its flags, from bit 0 up.
    public static let fields: [FlagField] = [
        FlagField("l0", 0, "DR0 on, local"), FlagField("g0", 1, "DR0 on, global"),
        FlagField("l1", 2, "DR1 on, local"), FlagField("g1", 3, "DR1 on, global"),
        FlagField("l2", 4, "DR2 on, local"), FlagField("g2", 5, "DR2 on, global"),
        FlagField("l3", 6, "DR3 on, local"), FlagField("g3", 7, "DR3 on, global"),
        FlagField("le", 8, "exact data breakpoints, local"),
        FlagField("ge", 9, "exact data breakpoints, global"), FlagField("rtm", 11, "transactional memory"),
        FlagField("gd", 13, "debug register access is an exception"),
        FlagField("rw0", 16, width: 2, "DR0 condition"), FlagField("len0", 18, width: 2, "DR0 length"),
        FlagField("rw1", 20, width: 2, "DR1 condition"), FlagField("len1", 22, width: 2, "DR1 length"),
        FlagField("rw2", 24, width: 2, "DR2 condition"), FlagField("len2", 26, width: 2, "DR2 length"),
        FlagField("rw3", 28, width: 2, "DR3 condition"), FlagField("len3", 30, width: 2, "DR3 length"),
    ]

    /// What a debug address register waits for: its R/W field.
    public enum Condition: UInt8, Sendable, Hashable, CaseIterable {
        /// The instruction at the address is about to be executed.
        case execution = 0
        /// The address is written.
        case write = 1
        /// I/O with CR4.DE, otherwise undefined.
        case portIO = 2
        /// Reads and writes, not instruction fetches.
        case access = 3
    }

    /// The fields that belong to one of DR0 to DR3.
    public struct Breakpoint: Sendable, Hashable {
        /// L: armed until a task switch.
        public var isLocal: Bool
        /// G: armed for all tasks.
        public var isGlobal: Bool
        /// What it waits for.
        public var condition: Condition
        /// In bytes: 1, 2, 4 or 8.
        public var length: Int
        /// L or G is set.
        public var isEnabled: Bool { isLocal || isGlobal }

        /// - Parameters:
        ///   - isLocal: L.
        ///   - isGlobal: G.
        ///   - condition: what it waits for.
        ///   - length: in bytes.
        public init(isLocal: Bool = false, isGlobal: Bool = false, condition: Condition, length: Int) {
            self.isLocal = isLocal
            self.isGlobal = isGlobal
            self.condition = condition
            self.length = length
        }
    }

    /// The fields of DR0 to DR3. Another number is a mistake of the caller, as is a length to set that is
    /// not 1, 2, 4 or 8.
    public subscript(number: Int) -> Breakpoint {
        get {
            precondition((0..<4).contains(number), "there is no debug address register \(number)")
            let control = rawValue >> UInt64(16 + number * 4)
            return Breakpoint(
                isLocal: rawValue >> UInt64(number * 2) & 1 == 1,
                isGlobal: rawValue >> UInt64(number * 2 + 1) & 1 == 1,
                condition: Condition(rawValue: UInt8(truncatingIfNeeded: control & 3)) ?? .execution,
                length: [1, 2, 8, 4][Int(control >> 2 & 3)])
        }
        set {
            precondition((0..<4).contains(number), "there is no debug address register \(number)")
            guard let length = [1, 2, 8, 4].firstIndex(of: newValue.length) else {
                preconditionFailure("a debug register cannot watch \(newValue.length) bytes")
            }
            let enables = UInt64(number * 2)
            let control = UInt64(16 + number * 4)
            rawValue &= ~(3 << enables | 15 << control)
            rawValue |= (newValue.isLocal ? 1 : 0) << enables | (newValue.isGlobal ? 2 : 0) << enables
            rawValue |= (UInt64(newValue.condition.rawValue) | UInt64(length) << 2) << control
        }
    }
}
