import CKVM
import SystemPackage
import X86

/// MSRs whose writes do not reach KVM.
public struct MSRFilter: Sendable, Hashable {
    /// MSRs that follow each other.
    public struct Range: Sendable, Hashable {
        /// The number of the first.
        public var first: UInt32
        /// 1 to ``MSRFilter/longestRange``.
        public var count: Int

        /// - Parameters:
        ///   - first: the number of the first.
        ///   - count: how many, 1 to ``MSRFilter/longestRange``.
        public init(first: UInt32, count: Int) {
            self.first = first
            self.count = count
        }
    }

    /// KVM_MSR_FILTER_MAX_RANGES.
    public static let maximumRanges = 16
    /// KVM_MSR_FILTER_MAX_BITMAP_SIZE, in MSRs.
    public static let longestRange = 0x3000

    /// Writes to these are denied; everything else passes.
    public var deniedWrites: [Range]

    /// - Parameter deniedWrites: MSRs whose writes are denied.
    public init(deniedWrites: [Range] = []) { self.deniedWrites = deniedWrites }
}

extension VirtualMachine {
    /// Sets which MSRs a guest may write. What is denied raises #GP or, once KVM_CAP_X86_USER_SPACE_MSR is enabled for
    /// KVM_MSR_EXIT_REASON_FILTER, comes out as ``VCPUExit/writeMSR(_:)``. MSRs of the x2APIC (0x800 to 0x8FF) always
    /// pass.
    ///
    /// - Throws: EINVAL for more ranges, or longer ones, than the kernel takes.
    ///
    /// Corresponds to `KVM_X86_SET_MSR_FILTER`; needs KVM_CAP_X86_MSR_FILTER.
    public func setMSRFilter(_ filter: MSRFilter) throws(KVMError) {
        guard filter.deniedWrites.count <= MSRFilter.maximumRanges,
            filter.deniedWrites.allSatisfy({ (1...MSRFilter.longestRange).contains($0.count) })
        else {
            throw KVMError(
                Request.setMSRFilter.name, .invalidArgument,
                advice:
                    "a filter has \(MSRFilter.maximumRanges) ranges at most, of \(MSRFilter.longestRange) MSRs each"
            )
        }
        // A clear bit denies. One map of zeros, as long as the longest range, serves all of them.
        let longest = filter.deniedWrites.map { ($0.count + 7) / 8 }.max() ?? 0
        // The kernel reads whole words.
        let length = max(1, (longest + 7) / 8) * 8
        // SAFETY: allocated here and freed at the end of this call, after the kernel has read it.
        let map = UnsafeMutablePointer<UInt8>.allocate(capacity: length)
        map.initialize(repeating: 0, count: length)
        defer { map.deallocate() }
        var argument = kvm_msr_filter()
        // SAFETY: `ranges` is a tuple of 16 structures of that type, whose memory is bound to it, and the filter has 16 at
        // most: checked above.
        withUnsafeMutableBytes(of: &argument.ranges) { bytes in
            let ranges = bytes.assumingMemoryBound(to: kvm_msr_filter_range.self)
            for (place, range) in filter.deniedWrites.enumerated() {
                var entry = kvm_msr_filter_range()
                entry.flags = UInt32(KVM_MSR_FILTER_WRITE)
                entry.base = range.first
                entry.nmsrs = UInt32(range.count)
                // The kernel reads so many bits of the map within the call below, and the map has them.
                entry.bitmap = map
                ranges[place] = entry
            }
        }
        try handle.call(.setMSRFilter, &argument)
    }

    /// Makes WRMSR of MSRs that ``setMSRFilter(_:)`` denies come out as an exit; no others do.
    ///
    /// Corresponds to `KVM_ENABLE_CAP` of KVM_CAP_X86_USER_SPACE_MSR.
    public func enableMSRFilterExits() throws(KVMError) {
        try enable(.x86UserSpaceMSR, arguments: SIMD4(UInt64(KVM_MSR_EXIT_REASON_FILTER), 0, 0, 0))
    }
}
