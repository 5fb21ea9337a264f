public import DebugTarget
public import X86

/// A place where the guest stops: before an instruction, or after one that touches memory that is watched.
public struct Breakpoint: Sendable, Hashable {
    /// What is compared with what.
    public enum Kind: String, Sendable, Hashable {
        /// The linear address of the instruction, whatever page it leads to; where it is done by a patch, the pages that
        /// it led to when it was set and at the stops since.
        case linear
        /// The physical address of the instruction, whatever linear address leads to it.
        case physical
        /// CS's selector and IP.
        case virtual
        /// Not an instruction but memory that it reads or writes.
        case watch
        /// Something that happens.
        case event = "catch"
    }

    /// How a breakpoint makes the guest stop.
    public enum Mechanism: String, Sendable, Hashable, CaseIterable {
        /// DR0-DR3 by KVM_SET_GUEST_DEBUG, on every vCPU. Memory is not changed, so a loader cannot overwrite
        /// it, and it works before the code is there. While one is armed KVM keeps the guest's own debug
        /// registers apart: the guest reads and writes them, but they do not fire.
        case debugRegister
        /// INT3 in the code, where the host traps it.
        case int3
        /// OUT to a private port in the code, which leaves the guest on every host.
        case portOut
        /// The page's memslot is read-only or missing, so that accesses leave the guest.
        case pageProtection
        /// Every instruction is stepped: slow, and works everywhere.
        case stepping
        /// The guest leaves KVM_RUN for it anyway.
        case exit
        /// KVM_X86_SET_MSR_FILTER makes the guest leave KVM_RUN for it.
        case msrFilter

        public var name: String {
            switch self {
            case .debugRegister: "debug register"
            case .int3: "int3"
            case .portOut: "port-out patch"
            case .pageProtection: "page protection"
            case .stepping: "stepping"
            case .exit: "exit"
            case .msrFilter: "MSR filter"
            }
        }

        /// Code in guest memory is changed, which the guest's own reads see.
        public var isPatch: Bool { self == .int3 || self == .portOut }
    }

    /// Which accesses a watchpoint stops at.
    public enum Access: String, Sendable, Hashable, CaseIterable {
        case write = "w"
        case read = "r"
        case both = "rw"

        public func includes(write: Bool) -> Bool { self == .both || (self == .write) == write }
    }

    public var number: Int
    public var kind: Kind
    /// A catchpoint's; nil for others.
    public var event: CatchEvent?
    /// As the user gave it. A catchpoint has none.
    public var address: Address
    /// The linear address that it stands for, found when it was set; nil for a physical one.
    public var linear: UInt64?
    /// A watchpoint's bytes; 1 for others.
    public var length: Int
    /// A watchpoint's accesses; nil for others.
    public var access: Access?
    public var isEnabled: Bool
    /// Deleted when it is hit.
    public var isTemporary: Bool
    /// It stops the guest only where this is true; as it was written.
    public var condition: String?
    /// How many hits more are passed over.
    public var ignore: Int
    /// Lines that the session does after a stop here.
    public var commands: [String]
    /// How often it was come to with its condition true.
    public var hits: Int
    public var mechanism: Mechanism
    /// By a debug register or not at all, because the user wants that.
    public var isHardware = false
    /// Where its code may run and this host does not honour the mechanism.
    public var blind: [CodeContext] = []
    /// Who set it, where that was not the session's user: "gdb".
    public var origin: String?
    /// A patch on a page that is not protected: a guest that overwrites it is noticed at the next stop only or, if
    /// ``isWatched``, some milliseconds later.
    public var isUnprotected: Bool
    public var isWatched = false
    /// A patch in code that the guest was about to copy or to add up, as far as that was seen when it was set.
    public var isAboutToBeRead = false
    /// Found by steps, as no patch is planted in memory that is only assumed to be the guest's.
    public var isPatchWithheld = false
    /// Found by steps, on a host that steps with TF: what the handlers of interrupts do that were not known beforehand goes
    /// by unseen.
    public var missesHandlers = false
    /// How often its patch was found overwritten, and planted again.
    public var overwritings = 0

    public init(
        number: Int, kind: Kind, address: Address, linear: UInt64?, length: Int = 1, access: Access? = nil,
        event: CatchEvent? = nil, isTemporary: Bool = false, condition: String? = nil, mechanism: Mechanism
    ) {
        self.number = number
        self.event = event
        self.kind = kind
        self.address = address
        self.linear = linear
        self.length = length
        self.access = access
        isEnabled = true
        self.isTemporary = isTemporary
        self.condition = condition
        ignore = 0
        commands = []
        hits = 0
        self.mechanism = mechanism
        isUnprotected = false
    }
}
