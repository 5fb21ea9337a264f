public import DebugTarget
public import Debugger
public import X86

/// What the panes show of a guest: one value, put together after each stop and, while the guest runs, ten times a
/// second, from what ``Model/needs`` asks for.
public struct GuestView: Sendable {
    /// The target's name.
    public var name: String
    public var isRunning: Bool
    /// The present stop; while the guest runs, the last one with the vCPUs as they were last looked at.
    public var stop: Stop
    /// The stop before, for change marks.
    public var previous: Stop?
    /// The number of the stop where the guest stands: that of ``stop``, unless an earlier one is revisited.
    public var latest: Int
    /// The numbers of the stops that can be revisited, the oldest first.
    public var kept: ClosedRange<Int>
    /// Why the guest is stopped, in words.
    public var reason: String
    /// The id of the selected vCPU.
    public var selected: Int
    public var vcpus: [VCPULine]
    /// How long the guest was last kept from running for what was done to it; nil where nothing measures that.
    public var standstill: Duration?
    /// How far apart its vCPUs came to a stop, the last time that they did together.
    public var spread: Duration?
    /// Age and source of the registers, of memory and of the exits, where they are not simply of this stop.
    public var registersFrom = ""
    public var memoryFrom = ""
    public var exitsFrom = ""
    /// Why the host does not tell the exits of a guest that another program runs; empty where it does.
    public var exitsMissing = ""
    /// The selected vCPU's; nil where it could not be read.
    public var debug: DebugRegisters?
    public var previousDebug: DebugRegisters?
    /// Where the selected vCPU's general registers lead, by their 64-bit names; none for what leads nowhere.
    public var chains: [String: String]
    public var code: CodeWindow
    public var stack: [StackLine]
    public var memory: MemoryWindow
    public var exits: ExitTable
    public var console: ConsoleText

    public init(name: String, stop: Stop, selected: Int) {
        self.name = name
        self.stop = stop
        self.selected = selected
        isRunning = false
        latest = stop.number
        kept = stop.number...stop.number
        chains = [:]
        reason = ""
        vcpus = []
        code = CodeWindow()
        stack = []
        memory = MemoryWindow()
        exits = ExitTable()
        console = ConsoleText()
    }

    /// The selected vCPU's state at the stop.
    public var current: VCPUSnapshot? { stop[selected] }
    /// An earlier stop is shown.
    public var isPast: Bool { stop.number != latest }
    /// Its state at the stop before.
    public var before: VCPUSnapshot? { previous?[selected] }
}

/// One vCPU in a line.
public struct VCPULine: Sendable, Hashable {
    public var id: Int
    public var isBoot: Bool
    /// In words: running, stopped, halted...
    public var state: String
    /// Nil where it could not be read.
    public var mode: CPUMode?
    /// `cs:ip`, or the linear address in 64-bit mode.
    public var location: String
    /// The name of the last exit, empty when there was none.
    public var lastExit: String
    /// Nil where the guest has not run for long enough to say.
    public var exitsPerSecond: Double?
    public var exits: UInt64
    /// What its thread did since the last look: guest, kernel and user mode, in percent. Nil where unknown.
    public var share: Share?
    /// Of when the state is, where it is not of the moment.
    public var age = ""

    /// Parts of a thread's time, in percent.
    public struct Share: Sendable, Hashable {
        public var guest: Double
        public var kernel: Double
        public var user: Double
        public init(guest: Double, kernel: Double, user: Double) {
            self.guest = guest
            self.kernel = kernel
            self.user = user
        }
    }

    public init(
        id: Int, isBoot: Bool, state: String, mode: CPUMode?, location: String, lastExit: String = "",
        exitsPerSecond: Double? = nil, exits: UInt64 = 0
    ) {
        self.id = id
        self.isBoot = isBoot
        self.state = state
        self.mode = mode
        self.location = location
        self.lastExit = lastExit
        self.exitsPerSecond = exitsPerSecond
        self.exits = exits
    }
}

/// Instructions one after another.
public struct CodeWindow: Sendable, Hashable {
    /// Where a direct jump goes, seen from its line.
    public enum Jump: Sendable, Hashable {
        /// To a line of the window, by its place.
        case line(Int)
        /// Out of the window.
        case up, down
    }

    public struct Line: Sendable, Hashable {
        /// Linear.
        public var address: UInt64
        /// As shown: `0000:7c00`, or 16 digits.
        public var location: String
        /// None where memory could not be read.
        public var bytes: [UInt8]
        public var text: String
        public var isPC = false
        /// The number of a breakpoint here, and whether it is enabled.
        public var breakpoint: Int?
        public var isBreakpointEnabled = true
        /// Whether the branch here will be taken; nil where it is no conditional branch about to run.
        public var willBranch: Bool?
        /// What the memory operand amounts to: address and value. Empty for none.
        public var note = ""
        /// The symbol that the address belongs to, as `puts+0x4`; empty for none.
        public var symbol = ""
        /// Where a jump here goes.
        public var jump: Jump?
        public init(address: UInt64, location: String, bytes: [UInt8], text: String) {
            self.address = address
            self.location = location
            self.bytes = bytes
            self.text = text
        }
    }
    public var lines: [Line]
    /// The mode that the code was decoded for, in words.
    public var mode: String
    /// The source line of the next instruction, as `boot.c:12`; empty where none is known.
    public var source = ""
    public init(lines: [Line] = [], mode: String = "") {
        self.lines = lines
        self.mode = mode
    }
}

/// A slot of the stack.
public struct StackLine: Sendable, Hashable {
    /// The stack pointer's value that points here.
    public var offset: UInt64
    public var linear: UInt64
    /// In bytes: 2, 4 or 8.
    public var width: Int
    /// Nil where it could not be read.
    public var value: UInt64?
    /// The bytes that differ from the stop before: bit N for the byte at ``linear`` + N.
    public var changed: UInt8
    /// Where the value leads, if it leads anywhere.
    public var note: String
    public var isChanged: Bool { changed != 0 }
    public init(
        offset: UInt64, linear: UInt64, width: Int, value: UInt64?, changed: UInt8 = 0, note: String = ""
    ) {
        self.offset = offset
        self.linear = linear
        self.width = width
        self.value = value
        self.changed = changed
        self.note = note
    }
}

/// Bytes from an address on.
public struct MemoryWindow: Sendable, Hashable {
    /// As the user wrote it, with what was added by scrolling: `ds:0010`, `p:1000`.
    public var title: String
    /// The text before each row's address, as `p:` or `07c0:`.
    public var prefix: String
    /// What stands for the first byte in its row, and grows by the row.
    public var start: UInt64
    /// The digits that addresses are shown with.
    public var digits: Int
    /// Nil where a byte could not be read.
    public var bytes: [UInt8?]
    /// Which differ from the stop before.
    public var changed: Set<Int>
    /// Why a byte could not be read, if one could not.
    public var problem: String
    public init(
        title: String = "", prefix: String = "", start: UInt64 = 0, digits: Int = 8, bytes: [UInt8?] = [],
        changed: Set<Int> = [], problem: String = ""
    ) {
        self.title = title
        self.prefix = prefix
        self.start = start
        self.digits = digits
        self.bytes = bytes
        self.changed = changed
        self.problem = problem
    }
}

/// Exits counted by reason, and the last ones.
public struct ExitTable: Sendable, Hashable {
    public struct Row: Sendable, Hashable {
        public var name: String
        public var count: UInt64
        /// A second; nil where the guest has not run for long enough to say.
        public var rate: Double?
        /// Time spent on handling, in nanoseconds, all and the longest; nil where nothing was timed.
        public var total: UInt64?
        public var maximum: UInt64?
        /// Of those that were timed, which need not be all.
        public var average: UInt64?
        /// Of the last ones: half, and 99 of 100, took no longer.
        public var median: UInt64?
        public var high: UInt64?
        public init(
            name: String, count: UInt64, rate: Double?, total: UInt64?, maximum: UInt64?,
            average: UInt64? = nil
        ) {
            self.name = name
            self.count = count
            self.rate = rate
            self.total = total
            self.maximum = maximum
            self.average = average ?? total.map { count == 0 ? 0 : $0 / count }
        }
    }
    public struct Recent: Sendable, Hashable {
        public var number: UInt64
        public var vcpu: Int
        /// Nanoseconds before the newest exit.
        public var age: UInt64
        /// With its payload.
        public var text: String
        public init(number: UInt64, vcpu: Int, age: UInt64, text: String) {
            self.number = number
            self.vcpu = vcpu
            self.age = age
            self.text = text
        }
    }
    /// The most frequent first.
    public var rows: [Row]
    public var total: UInt64
    public var rate: Double?
    /// The newest first.
    public var recent: [Recent]
    public init(rows: [Row] = [], total: UInt64 = 0, rate: Double? = nil, recent: [Recent] = []) {
        self.rows = rows
        self.total = total
        self.rate = rate
        self.recent = recent
    }
}

/// What the guest wrote.
public struct ConsoleText: Sendable, Hashable {
    /// The newest last; bytes that are not printable are kept as they came.
    public var bytes: [UInt8]
    /// Which console this is, and how many there are.
    public var name: String
    public var consoles: Int
    /// The guest's text screen, where that is what is shown; there are no bytes then.
    public var screen: ScreenContents?
    public init(
        bytes: [UInt8] = [], name: String = "", consoles: Int = 1, screen: ScreenContents? = nil
    ) {
        self.screen = screen
        self.bytes = bytes
        self.name = name
        self.consoles = consoles
    }
}
