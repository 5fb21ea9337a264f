/// The data that the panes show now: no more is gathered.
public struct Needs: Sendable, Hashable {
    /// Lines of code, and how far from the anchor they begin.
    public var codeLines = 0
    /// The linear address that the lines begin at, unless the next instruction is not among them then; nil begins
    /// at the next instruction.
    public var codeStart: UInt64?
    /// Lines to go from there: on, or back.
    public var codeScroll = 0
    /// At the stop of this number the lines stay where they are even if the next instruction is not among them.
    public var codePinnedAt: Int?
    public var stackSlots = 0
    /// Those before it are scrolled past.
    public var stackFirst = 0
    public var memory: MemoryPlace?
    public var memoryBytes = 0
    public var recentExits = 0
    /// Which console, counted from 0 and wrapping; nil for none.
    public var console: Int?
    public var debugRegisters = false
    /// Where the selected vCPU's registers lead.
    public var chains = false
    /// The vCPUs whose registers are shown; nil for all.
    public var registersOf: Set<Int>?
    /// Those of which a line is shown.
    public var linesOf: Set<Int> = []

    public init() {}
}
