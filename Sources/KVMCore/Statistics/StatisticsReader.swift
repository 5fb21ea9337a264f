import CKVM
import SystemPackage

/// One counter of a VM or vCPU, or a histogram. Source: api.rst, 4.129.
public struct Statistic: Sendable, Hashable {
    /// What a counter's values are: KVM_STATS_TYPE_*.
    public enum Kind: Sendable, Hashable {
        /// It only grows.
        case cumulative
        /// What is so now.
        case instant
        /// The largest that has been.
        case peak
        /// Value `n` counts what was from `n` to `n + 1` times the bucket size; the last, everything above.
        case linearHistogram(bucketSize: UInt32)
        /// Value 0 counts 0, and value `n` what was from 2^(n-1) to 2^n - 1; the last, everything above.
        case logHistogram
        /// A kind newer than this list.
        case other(UInt8)
    }
    /// What a counter counts: KVM_STATS_UNIT_*.
    public enum Unit: Sendable, Hashable {
        /// Events, or what the name says.
        case none
        /// Bytes.
        case bytes
        /// Seconds.
        case seconds
        /// Clock cycles.
        case cycles
        /// 0 or 1.
        case boolean
        /// A unit newer than this list.
        case other(UInt8)
    }
    /// As the kernel has it: "exits", "halt_poll_success_ns".
    public var name: String
    /// What the values are.
    public var kind: Kind
    /// What they count, before ``exponent``.
    public var unit: Unit
    /// The unit is to be multiplied by ``radix`` to this power: 10 and -9 with seconds are nanoseconds.
    public var exponent: Int16
    /// 10 or 2; 0 for one newer than this list.
    public var radix: Int
    /// One, or a histogram's buckets.
    public var values: [UInt64]
    /// - Parameters:
    ///   - name: the kernel's name.
    ///   - kind: what the values are.
    ///   - unit: what they count.
    ///   - exponent: the power of `radix` that the unit is multiplied by.
    ///   - radix: 10 or 2.
    ///   - values: one, or a histogram's buckets.
    public init(name: String, kind: Kind, unit: Unit, exponent: Int16, radix: Int, values: [UInt64]) {
        self.name = name
        self.kind = kind
        self.unit = unit
        self.exponent = exponent
        self.radix = radix
        self.values = values
    }
}

/// Reads the counters that the kernel keeps for a VM or vCPU, through a descriptor of their own. It can be read
/// at any time and from any thread, also while the vCPU runs, and keeps nothing from running.
///
/// Corresponds to `KVM_GET_STATS_FD`.
public struct StatisticsReader: ~Copyable, Sendable {
    private let handle: Handle
    private let layout: StatisticsLayout

    /// What the kernel calls it: "kvm-1234" for a VM, "kvm-1234/vcpu-0" for a vCPU; the number is the process.
    public var id: String { layout.id }

    init(of owner: borrowing Handle) throws(KVMError) {
        var descriptor = try owner.call(.getStatsFD)
        if case .remote(let remote) = owner.channel {
            descriptor = remote.fetch(descriptor)
            guard descriptor >= 0 else { throw KVMError(.getStatsFD, descriptor) }
        }
        try self.init(owning: descriptor)
    }

    /// Takes over a descriptor that `KVM_GET_STATS_FD` gave somebody, and closes it in the end, also where it is none.
    package init(owning descriptor: Int32) throws(KVMError) {
        let handle = Handle(owning: descriptor)
        layout = try StatisticsLayout { offset, count throws(KVMError) in
            try Self.bytes(of: descriptor, offset, count)
        }
        self.handle = handle
    }

    /// The counters as they stand, all from one read.
    public func read() throws(KVMError) -> [Statistic] {
        layout.statistics(try Self.bytes(of: handle.descriptor, layout.dataOffset, layout.dataSize))
    }

    private static func bytes(of descriptor: Int32, _ offset: UInt64, _ count: Int) throws(KVMError)
        -> [UInt8]
    {
        var bytes = [UInt8](repeating: 0, count: count)
        var filled = 0
        while filled < count {
            // SAFETY: the rest of the buffer is count - filled bytes long, which is not 0.
            let result = bytes.withUnsafeMutableBytes { buffer in
                ckvm_pread(
                    descriptor, buffer.baseAddress.map { $0 + filled }, count - filled,
                    offset + UInt64(filled))
            }
            if result == -Int(Errno.interrupted.rawValue) { continue }
            guard result > 0 else {
                throw KVMError(
                    "read statistics", result == 0 ? .invalidArgument : Errno(rawValue: Int32(-result)),
                    advice: result == 0 ? "the statistics end before byte \(offset + UInt64(count))" : nil)
            }
            filled += result
        }
        return bytes
    }
}

/// Where the counters are in a statistics file, which nobody vouches for. Source: api.rst, 4.129.
struct StatisticsLayout: Sendable {
    struct Entry: Sendable {
        var template: Statistic
        /// From the start of the data block.
        var offset: Int
        var count: Int
    }
    let id: String
    let entries: [Entry]
    let dataOffset: UInt64
    let dataSize: Int

    /// Far more than any kernel has; a file that claims more is refused before memory is spent on it.
    private static let maxNameSize = 1024
    private static let maxEntries = 16384
    private static let maxDataSize = 16 << 20

    /// - Parameter read: exactly `count` bytes at an offset, or an error.
    init(_ read: (_ offset: UInt64, _ count: Int) throws(KVMError) -> [UInt8]) throws(KVMError) {
        let header = try read(0, MemoryLayout<kvm_stats_header>.size)
        let nameSize = Int(header.load(4, as: UInt32.self))
        let count = Int(header.load(8, as: UInt32.self))
        guard nameSize > 0, nameSize <= Self.maxNameSize, count <= Self.maxEntries else {
            throw KVMError(
                "read statistics", .invalidArgument,
                advice: "the header claims \(count) counters with names of \(nameSize) bytes")
        }
        id = Self.text(try read(UInt64(header.load(12, as: UInt32.self)), nameSize)[...])
        dataOffset = UInt64(header.load(20, as: UInt32.self))
        let stride = MemoryLayout<kvm_stats_desc>.size + nameSize
        let descriptors = try read(UInt64(header.load(16, as: UInt32.self)), stride * count)
        var entries: [Entry] = []
        var end = 0
        for at in Swift.stride(from: 0, to: stride * count, by: stride) {
            let flags: UInt32 = descriptors.load(at)
            let values = Int(descriptors.load(at + 6, as: UInt16.self))
            let offset = Int(descriptors.load(at + 8, as: UInt32.self))
            let name = Self.text(descriptors[at + 16..<at + stride])
            let entryEnd = offset + values * 8
            guard entryEnd <= Self.maxDataSize else {
                throw KVMError(
                    "read statistics", .invalidArgument, advice: "the values of \(name) end at \(entryEnd)")
            }
            end = max(end, entryEnd)
            let template = Statistic(
                name: name, kind: Self.kind(flags, bucketSize: descriptors.load(at + 12)),
                unit: Self.unit(flags),
                exponent: Int16(bitPattern: descriptors.load(at + 4)), radix: Self.radix(flags), values: [])
            entries.append(Entry(template: template, offset: offset, count: values))
        }
        self.entries = entries
        dataSize = end
    }

    /// - Parameter data: ``dataSize`` bytes.
    func statistics(_ data: [UInt8]) -> [Statistic] {
        entries.map { entry in
            var statistic = entry.template
            statistic.values = (0..<entry.count).map { data.load(entry.offset + $0 * 8) }
            return statistic
        }
    }

    private static func text(_ bytes: ArraySlice<UInt8>) -> String {
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }

    private static func kind(_ flags: UInt32, bucketSize: UInt32) -> Statistic.Kind {
        switch flags & 0xF {
        case 0: .cumulative
        case 1: .instant
        case 2: .peak
        case 3: .linearHistogram(bucketSize: bucketSize)
        case 4: .logHistogram
        case let other: .other(UInt8(other))
        }
    }

    private static func unit(_ flags: UInt32) -> Statistic.Unit {
        switch flags >> 4 & 0xF {
        case 0: .none
        case 1: .bytes
        case 2: .seconds
        case 3: .cycles
        case 4: .boolean
        case let other: .other(UInt8(other))
        }
    }

    private static func radix(_ flags: UInt32) -> Int {
        switch flags >> 8 & 0xF {
        case 0: 10
        case 1: 2
        default: 0
        }
    }
}
