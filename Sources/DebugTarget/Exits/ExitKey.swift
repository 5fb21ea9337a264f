public import KVMCore

/// What exits are counted by: I/O by port and direction, MMIO by 4 KiB page and direction, MSRs by index,
/// all others by reason.
public enum ExitKey: Sendable, Hashable, CustomStringConvertible {
    case io(port: UInt16, direction: PortIO.Direction)
    /// `page` is the guest-physical address of the page's first byte.
    case mmio(page: UInt64, isWrite: Bool)
    case msr(index: UInt32, isWrite: Bool)
    /// KVM_EXIT_* by its number.
    case reason(ExitReason)
    /// All keys beyond ``ExitRecorder/maximumKeys``.
    case overflow

    public init(_ exit: VCPUExit) { self.init(packed: Self.pack(exit)) }

    /// As `IO 0xe9 out`, `MMIO 0xfee00000 write`, `MSR 0xc0000080 read`, `HLT`.
    public var name: String {
        switch self {
        case .io(let port, let direction):
            "IO 0x\(String(port, radix: 16)) \(direction == .out ? "out" : "in")"
        case .mmio(let page, let isWrite):
            "MMIO 0x\(String(page, radix: 16)) \(isWrite ? "write" : "read")"
        case .msr(let index, let isWrite):
            "MSR 0x\(String(index, radix: 16)) \(isWrite ? "write" : "read")"
        case .reason(let reason): reason.description
        case .overflow: "(more)"
        }
    }

    public var description: String { name }
}

extension ExitKey {
    // A key in one word, because hashing the enum costs more than the rest of the hot path: the kind in bits
    // 60-63, the direction in bit 59, and the port, page number, index or reason below.
    private static let ioKind: UInt64 = 1 << 60
    private static let mmioKind: UInt64 = 2 << 60
    private static let msrKind: UInt64 = 3 << 60
    private static let reasonKind: UInt64 = 4 << 60
    private static let outward: UInt64 = 1 << 59
    static let packedOverflow: UInt64 = 5 << 60

    static func pack(_ exit: VCPUExit) -> UInt64 {
        switch exit {
        case .io(let io):
            ioKind | (io.direction == .out ? outward : 0) | UInt64(io.port)
        case .mmio(let mmio):
            mmioKind | (mmio.isWrite ? outward : 0) | mmio.gpa >> 12
        case .readMSR(let access): msrKind | UInt64(access.index)
        case .writeMSR(let access): msrKind | outward | UInt64(access.index)
        default: reasonKind | UInt64(exit.reason.rawValue)
        }
    }

    package init(packed: UInt64) {
        let isOutward = packed & Self.outward != 0
        let low = packed & (Self.outward - 1)
        switch packed & 0xF << 60 {
        case Self.ioKind:
            self = .io(port: UInt16(truncatingIfNeeded: low), direction: isOutward ? .out : .in)
        case Self.mmioKind: self = .mmio(page: low << 12, isWrite: isOutward)
        case Self.msrKind: self = .msr(index: UInt32(truncatingIfNeeded: low), isWrite: isOutward)
        case Self.reasonKind: self = .reason(ExitReason(rawValue: UInt32(truncatingIfNeeded: low)))
        default: self = .overflow
        }
    }
}
