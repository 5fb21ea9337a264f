/// A target whose devices are kvmscope's own: what is on its buses, and what nobody answered.
public protocol DeviceListing: Target {
    /// Safe from any thread, while the guest runs, too.
    var deviceState: DeviceState { get }
}

/// What is on a machine's buses, and what came over them.
public struct DeviceState: Sendable, Hashable {
    /// In order of port.
    public var ports: [MountedDevice] = []
    /// In order of address.
    public var memory: [MountedDevice] = []
    public var unclaimedPorts: [UnclaimedAccess] = []
    public var unclaimedMemory: [UnclaimedAccess] = []
    /// The last codes at port 80h, the oldest first.
    public var postCodes: [UInt8] = []
    /// Nil where the machine has no gate for it.
    public var isA20On: Bool?
    /// What came into the guest from outside.
    public var inputs = InputCounts()
    /// Interrupts that were delivered, by vector.
    public var interrupts: [DeliveredInterrupt] = []
    /// Nil where the machine has no ROM.
    public var rom: ROMState?
    /// What was noticed once each, for people.
    public var remarks: [String] = []

    public init() {}
}

/// A device on a bus.
public struct MountedDevice: Sendable, Hashable {
    /// The ports or addresses that it answers at.
    public var first: UInt64
    public var last: UInt64
    public var name: String
    public init(first: UInt64, last: UInt64, name: String) {
        self.first = first
        self.last = last
        self.name = name
    }
}

/// Memory that the guest reads and cannot write.
public struct ROMState: Sendable, Hashable {
    public var first: UInt64
    public var last: UInt64
    /// False where the host's KVM has no read-only memory, so that the guest can write it after all.
    public var isProtected: Bool
    /// The guest's writes that were dropped, at the address of the last one; nil where there was none.
    public var dropped: UnclaimedAccess?

    public init(first: UInt64, last: UInt64, isProtected: Bool, dropped: UnclaimedAccess?) {
        self.first = first
        self.last = last
        self.isProtected = isProtected
        self.dropped = dropped
    }
}

/// Accesses to a port or an address at which nobody is: reads gave all ones, writes were dropped.
public struct UnclaimedAccess: Sendable, Hashable {
    public var address: UInt64
    public var reads: UInt64 = 0
    public var writes: UInt64 = 0
    /// The widest of them, in bytes.
    public var size = 0
    /// What was written last.
    public var written: UInt64?

    public init(address: UInt64) { self.address = address }

    /// One more.
    public mutating func note(size: Int, written value: UInt64?) {
        if let value {
            writes &+= 1
            written = value
        } else {
            reads &+= 1
        }
        self.size = max(self.size, size)
    }
}

/// How much came into a guest from outside: all that a replay would need.
public struct InputCounts: Sendable, Hashable {
    public var portReads: UInt64 = 0
    public var memoryReads: UInt64 = 0
    public var interrupts: UInt64 = 0
    /// Nanoseconds of the guest's time.
    public var time: UInt64 = 0
    public init() {}
}

/// How often a vector was delivered.
public struct DeliveredInterrupt: Sendable, Hashable {
    public var vector: UInt8
    public var count: UInt64
    public init(vector: UInt8, count: UInt64) {
        self.vector = vector
        self.count = count
    }
}

/// A target whose guest has a time of its own, which stands while the guest is stopped.
public protocol GuestTimekeeping: Target {
    /// False for a machine whose time is the host's.
    var hasGuestTime: Bool { get }
    /// Since the machine was made.
    var guestTime: Duration { get }
    /// How long a stepped instruction takes, up to a second.
    var stepTime: Duration { get set }
}

/// A target with a real-time clock that can be looked at.
public protocol RealTimeClockProviding: Target {
    /// Nil for a machine without one. Safe from any thread.
    var realTimeClock: RealTimeClockState? { get }
}

/// An MC146818 and its memory.
public struct RealTimeClockState: Sendable, Hashable {
    /// What it shows, in seconds since 1970, UTC.
    public var seconds: Int64
    public var statusA: UInt8
    public var statusB: UInt8
    public var statusC: UInt8
    /// Hour, minute and second of the alarm, as they were written; C0h and above is "any".
    public var alarm: [UInt8]
    /// The register that port 71h is.
    public var index: UInt8
    /// 128 bytes; those of the clock itself as they were written.
    public var memory: [UInt8]

    public init(
        seconds: Int64, statusA: UInt8, statusB: UInt8, statusC: UInt8, alarm: [UInt8], index: UInt8,
        memory: [UInt8]
    ) {
        self.seconds = seconds
        self.statusA = statusA
        self.statusB = statusB
        self.statusC = statusC
        self.alarm = alarm
        self.index = index
        self.memory = memory
    }
}

/// A target that waits at a HLT for its devices, so that a HLT is no end.
public protocol HaltWaiting: Target {
    var waitsAtHalt: Bool { get }
}
