/// What CPUID answers for one pair of EAX and ECX.
public struct CPUIDLeaf: Sendable, Hashable {
    /// EAX going in.
    public var function: UInt32
    /// ECX going in; nil where it does not count.
    public var index: UInt32?
    /// EAX coming out.
    public var eax: UInt32
    /// EBX coming out.
    public var ebx: UInt32
    /// ECX coming out.
    public var ecx: UInt32
    /// EDX coming out.
    public var edx: UInt32

    /// - Parameters:
    ///   - function: EAX going in.
    ///   - index: ECX going in; nil where it does not count.
    ///   - eax: EAX coming out.
    ///   - ebx: EBX coming out.
    ///   - ecx: ECX coming out.
    ///   - edx: EDX coming out.
    public init(
        function: UInt32, index: UInt32? = nil, eax: UInt32 = 0, ebx: UInt32 = 0, ecx: UInt32 = 0,
        edx: UInt32 = 0
    ) {
        self.function = function
        self.index = index
        self.eax = eax
        self.ebx = ebx
        self.ecx = ecx
        self.edx = edx
    }

    /// One of the four registers that come out.
    public enum Register: String, Sendable, Hashable, CaseIterable {
        /// In the order that the manual has them in.
        case eax, ebx, ecx, edx
    }

    /// One of the four registers that come out.
    public subscript(register: Register) -> UInt32 {
        get {
            switch register {
            case .eax: eax
            case .ebx: ebx
            case .ecx: ecx
            case .edx: edx
            }
        }
        set {
            switch register {
            case .eax: eax = newValue
            case .ebx: ebx = newValue
            case .ecx: ecx = newValue
            case .edx: edx = newValue
            }
        }
    }

    /// What the leaf is about, as `features`; nil for one that has no name here.
    /// Source: SDM volume 2, CPUID; APM volume 3, appendix E; the kernel's cpuid.rst for 0x40000000 up.
    public var title: String? {
        switch function {
        case 0: "highest leaf, vendor"
        case 1: "version, features"
        case 2: "caches and TLBs"
        case 4: "cache parameters"
        case 5: "MONITOR"
        case 6: "thermal and power"
        case 7: "extended features"
        case 0xA: "performance monitoring"
        case 0xB: "topology"
        case 0xD: "extended state"
        case 0x12: "SGX"
        case 0x14: "processor trace"
        case 0x15: "TSC and crystal"
        case 0x16: "frequencies"
        case 0x1D, 0x1E: "AMX"
        case 0x1F: "topology, second form"
        case 0x24: "AVX10"
        case 0x4000_0000: "hypervisor"
        case 0x4000_0001: "hypervisor features"
        case 0x8000_0000: "highest extended leaf"
        case 0x8000_0001: "extended features"
        case 0x8000_0002...0x8000_0004: "brand"
        case 0x8000_0005: "L1 caches and TLBs"
        case 0x8000_0006: "L2 cache"
        case 0x8000_0007: "power management"
        case 0x8000_0008: "address sizes"
        case 0x8000_000A: "SVM"
        case 0x8000_001D: "cache parameters"
        case 0x8000_001E: "topology"
        case 0x8000_001F: "memory encryption"
        case 0x8000_0021: "extended features 2"
        default: nil
        }
    }

    /// The text in EBX, EDX, ECX (leaf 0) or EBX, ECX, EDX (0x40000000), or in all four (brand); nil for others.
    public var text: String? {
        switch function {
        case 0, 0x8000_0000: Self.text([ebx, edx, ecx])
        case 0x4000_0000: Self.text([ebx, ecx, edx])
        case 0x8000_0002...0x8000_0004: Self.text([eax, ebx, ecx, edx])
        default: nil
        }
    }

    private static func text(_ words: [UInt32]) -> String? {
        let bytes = words.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> ($0 * 8)) } }
        let shown = bytes.prefix { $0 != 0 }
        guard !shown.isEmpty, shown.allSatisfy({ (0x20..<0x7F).contains($0) }) else { return nil }
        return String(decoding: shown, as: UTF8.self)
    }
}

/// All leaves of one processor.
public struct CPUIDTable: Sendable, Hashable {
    /// All leaves, in the order that they came in.
    public var leaves: [CPUIDLeaf]
    /// - Parameter leaves: all leaves.
    public init(_ leaves: [CPUIDLeaf]) { self.leaves = leaves }

    /// The leaf that EAX and ECX going in lead to; nil where there is none.
    public subscript(function: UInt32, index: UInt32 = 0) -> CPUIDLeaf? {
        leaves.first { $0.function == function && ($0.index ?? index) == index }
    }

    /// `GenuineIntel`.
    public var vendor: String? { self[0]?.text }
    /// Leaves 0x80000002 to 4, spaces at the ends cut off.
    public var brand: String? {
        let parts = (UInt32(0x8000_0002)...0x8000_0004).compactMap { self[$0]?.text }
        guard parts.count == 3 else { return parts.isEmpty ? nil : parts.joined() }
        return String(parts.joined().drop { $0 == " " })
    }
    /// `KVMKVMKVM`.
    public var hypervisor: String? { self[0x4000_0000]?.text }

    /// Family, model and stepping with the extended parts added. Source: SDM volume 2, CPUID, figure 3-6.
    public var version: (family: Int, model: Int, stepping: Int)? {
        guard let signature = self[1]?.eax else { return nil }
        let base = Int(signature >> 8 & 0xF)
        let family = base == 0xF ? base + Int(signature >> 20 & 0xFF) : base
        var model = Int(signature >> 4 & 0xF)
        if base == 0xF || base == 6 { model |= Int(signature >> 12 & 0xF0) }
        return (family, model, Int(signature & 0xF))
    }

    /// What page walks depend on; the most that the architecture has where the leaves are missing.
    public var pagingFeatures: PagingFeatures {
        let sizes = self[0x8000_0008].map { Int($0.eax & 0xFF) } ?? 0
        var features = PagingFeatures(
            physicalAddressBits: sizes == 0 ? 52 : sizes,
            hasGigabytePages: self[0x8000_0001].map { $0.edx >> 26 & 1 == 1 } ?? true)
        features.reservesUpperGlobal = vendor == "AuthenticAMD" || vendor == "HygonGenuine"
        return features
    }

    /// Where an XSAVE component from 2 up is in the standard form: leaf 0xD.
    public func extendedStateLayout(_ component: Int) -> (offset: Int, size: Int)? {
        guard component >= 2, let number = UInt32(exactly: component), let leaf = self[0xD, number],
            leaf.index != nil, leaf.eax != 0
        else { return nil }
        return (Int(leaf.ebx), Int(leaf.eax))
    }
}
