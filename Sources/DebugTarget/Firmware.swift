import Locking

/// A target whose firmware is kvmscope's own: each call of the guest to it is known.
public protocol FirmwareProviding: Target {
    /// Nil where the machine has no such firmware. Safe from any thread.
    var firmware: FirmwareLog? { get }
}

/// The registers of real-mode code, as a BIOS call has them.
public struct FirmwareRegisters: Sendable, Hashable {
    public var eax: UInt32
    public var ebx: UInt32
    public var ecx: UInt32
    public var edx: UInt32
    public var esi: UInt32
    public var edi: UInt32
    public var ebp: UInt32
    public var ds: UInt16
    public var es: UInt16

    public init(
        eax: UInt32 = 0, ebx: UInt32 = 0, ecx: UInt32 = 0, edx: UInt32 = 0, esi: UInt32 = 0, edi: UInt32 = 0,
        ebp: UInt32 = 0, ds: UInt16 = 0, es: UInt16 = 0
    ) {
        self.eax = eax
        self.ebx = ebx
        self.ecx = ecx
        self.edx = edx
        self.esi = esi
        self.edi = edi
        self.ebp = ebp
        self.ds = ds
        self.es = es
    }

    public var ah: UInt8 { UInt8(truncatingIfNeeded: eax >> 8) }
    public var al: UInt8 { UInt8(truncatingIfNeeded: eax) }
}

/// One call of a guest to its BIOS.
public struct FirmwareCall: Sendable, Hashable {
    /// Sectors that a disk call was about.
    public struct Transfer: Sendable, Hashable {
        public enum Direction: String, Sendable, Hashable {
            case read, write, verify
        }
        public var direction: Direction
        /// The first sector, and how many were asked for.
        public var sector: UInt64
        public var count: UInt32
        /// Where the guest's buffer is.
        public var segment: UInt16
        public var offset: UInt16
        public init(
            _ direction: Direction, sector: UInt64, count: UInt32, segment: UInt16, offset: UInt16
        ) {
            self.direction = direction
            self.sector = sector
            self.count = count
            self.segment = segment
            self.offset = offset
        }
    }

    /// What became of it.
    public enum Outcome: Sendable, Hashable {
        /// It returned; CF and ZF of the caller where the call sets them.
        case returned(carry: Bool?, zero: Bool?)
        /// It waits, as for a key: it is made again until it returns.
        case waits
        /// It went elsewhere, as INT 19h does.
        case left
    }

    /// Counts from 1; a call that is repeated as it was keeps its number.
    public var number: UInt64 = 0
    public var vector: UInt8
    /// What the INT returns to.
    public var callerSegment: UInt16
    public var callerOffset: UInt16
    public var before: FirmwareRegisters
    public var after: FirmwareRegisters
    public var outcome: Outcome
    public var transfer: Transfer?
    /// False where the BIOS has no such function.
    public var isKnown = true
    /// How often it came like this in a row.
    public var repeats: UInt64 = 1

    public init(
        vector: UInt8, callerSegment: UInt16, callerOffset: UInt16, before: FirmwareRegisters,
        after: FirmwareRegisters, outcome: Outcome
    ) {
        self.vector = vector
        self.callerSegment = callerSegment
        self.callerOffset = callerOffset
        self.before = before
        self.after = after
        self.outcome = outcome
    }

    /// A call like the one before it, as a program that polls makes them.
    func isSame(as other: FirmwareCall) -> Bool {
        var copy = other
        copy.number = number
        copy.repeats = repeats
        return copy == self
    }
}

/// The calls of a guest to its BIOS: the last ones, how many of each function, and what the BIOS does not have. Safe from
/// any thread.
public final class FirmwareLog: Sendable {
    /// How many calls are kept.
    public static let capacity = 1000

    /// How often a function was called.
    public struct Count: Sendable, Hashable {
        public var vector: UInt8
        /// AH.
        public var function: UInt8
        public var count: UInt64
        public var isKnown: Bool
    }

    private struct State {
        var calls: [FirmwareCall] = []
        var oldest = 0
        var total: UInt64 = 0
        var counts: [UInt16: Count] = [:]
    }

    private let state = Lock(State())

    public init() {}

    /// Keeps a call.
    package func append(_ call: FirmwareCall) {
        state.withLock { state in
            let key = UInt16(call.vector) << 8 | UInt16(call.before.ah)
            state.counts[
                key,
                default: Count(
                    vector: call.vector, function: call.before.ah, count: 0, isKnown: call.isKnown)
            ].count &+= 1
            let last =
                state.calls.isEmpty
                ? nil : (state.oldest + state.calls.count - 1) % max(state.calls.count, 1)
            if let last, state.calls[last].isSame(as: call) {
                state.calls[last].repeats &+= 1
                return
            }
            state.total &+= 1
            var call = call
            call.number = state.total
            if state.calls.count < Self.capacity {
                state.calls.append(call)
            } else {
                state.calls[state.oldest] = call
                state.oldest = (state.oldest + 1) % Self.capacity
            }
        }
    }

    /// The last calls, the oldest first.
    public func recent(_ limit: Int = capacity) -> [FirmwareCall] {
        state.withLock { state in
            Array((state.calls[state.oldest...] + state.calls[..<state.oldest]).suffix(max(limit, 0)))
        }
    }

    /// By vector and function.
    public var counts: [Count] {
        state.withLock { state in state.counts.keys.sorted().compactMap { state.counts[$0] } }
    }

    /// How many different calls there were; those that were repeated as they were count once.
    public var total: UInt64 { state.withLock { $0.total } }

    /// Forgets all of it.
    public func reset() { state.withLock { $0 = State() } }
}

/// A target with disk drives.
public protocol DiskProviding: Target {
    /// Safe from any thread.
    var drives: [DriveState] { get }
    /// Writes a drive's contents, with what the guest has written, to a file that does not exist.
    func saveDrive(_ number: UInt8, to path: String) throws
}

/// A drive of a machine.
public struct DriveState: Sendable, Hashable {
    public enum Kind: String, Sendable, Hashable {
        case floppy, disk, cdrom
    }
    /// As INT 13h has it: from 0, from 80h, E0h.
    public var number: UInt8
    public var kind: Kind
    /// The image's file.
    public var path: String
    /// In sectors of `sectorSize` bytes.
    public var sectors: UInt64
    public var sectorSize: Int
    /// Of INT 13h's old functions.
    public var cylinders: Int
    public var heads: Int
    public var sectorsPerTrack: Int
    public var reads: UInt64
    public var writes: UInt64
    /// Bytes that the guest has changed and that are not in the file.
    public var changed: UInt64

    public init(
        number: UInt8, kind: Kind, path: String, sectors: UInt64, sectorSize: Int, cylinders: Int, heads: Int,
        sectorsPerTrack: Int, reads: UInt64, writes: UInt64, changed: UInt64
    ) {
        self.number = number
        self.kind = kind
        self.path = path
        self.sectors = sectors
        self.sectorSize = sectorSize
        self.cylinders = cylinders
        self.heads = heads
        self.sectorsPerTrack = sectorsPerTrack
        self.reads = reads
        self.writes = writes
        self.changed = changed
    }
}
