import CLinux
public import DebugTarget
import Host
import KVMCore
import X86

/// Which guest-physical addresses lie where in the VMM, and how that is known.
public struct GuestMemoryMap: Sendable, Hashable {
    public enum Source: Sendable, Hashable {
        /// KVM's memory slots, read in the kernel.
        case kernel
        /// What the VMM was seen to ask KVM for before its first KVM_RUN. `isChecked`: KVM's slots in the kernel
        /// said the same.
        case calls(isChecked: Bool)
        /// The largest mapping of the VMM, taken to be the guest's RAM from 0 on. `isChecked`: a walk of the
        /// guest's page tables through it gave what KVM_TRANSLATE says; otherwise it is a guess.
        case search(isChecked: Bool)
        /// Nothing was found.
        case none

        /// It may be wrong: what is read there may be no memory of the guest's, and nothing is to be planted by it.
        public var isAssumed: Bool { self == .search(isChecked: false) }

        /// For people.
        public var text: String {
            switch self {
            case .kernel: "KVM's memory slots (BPF and BTF)"
            case .calls(true): "the VMM's own calls, checked"
            case .calls(false): "the VMM's own calls"
            case .search(true): "the VMM's largest mapping, checked by a page walk"
            case .search(false): "the VMM's largest mapping, NOT checked"
            case .none: "not known"
            }
        }
    }
    public var regions: [MemoryRegion]
    public var source: Source

    public init(regions: [MemoryRegion], source: Source) {
        self.regions = regions
        self.source = source
    }

    /// The map as the kernel knows it; nil where it cannot be asked.
    static func fromKernel(_ guest: HostGuest) -> GuestMemoryMap? {
        guard let kernel = try? KernelReader.shared(),
            let slots = kernel.facts(
                of: guest.process, vm: guest.vmDescriptors.first, vcpus: guest.vcpus)?.slots
        else { return nil }
        return GuestMemoryMap(regions: slots.map(MemoryRegion.init), source: .kernel)
    }

    /// Of what the kernel says and what the VMM was seen to ask for: the latter where both agree, or where the kernel
    /// does not say.
    static func best(_ kernel: GuestMemoryMap?, _ machine: LaunchedMachine?) -> GuestMemoryMap? {
        guard let machine else { return kernel }
        let isChecked = kernel.map { $0.regions == machine.regions }
        if isChecked == false { return kernel }
        return GuestMemoryMap(regions: machine.regions, source: .calls(isChecked: isChecked == true))
    }

    /// Why the kernel cannot be asked.
    static var whyNotFromKernel: ValueSource.Missing {
        do throws(HostGuestError) {
            _ = try KernelReader.shared()
            return .init(.kernelMemory, "the VM is not found among the VMM's descriptors")
        } catch {
            return .init(.kernelMemory, error.description)
        }
    }

    /// Mappings that could be the guest's RAM, the largest first.
    static func candidates(_ map: AddressMap) -> [MemoryRegion] {
        map.areas.filter {
            $0.isReadable && $0.isWritable && $0.size >= 1 << 16 && !$0.name.hasPrefix("[")
                && KVMDescriptor(link: $0.name) == nil
        }.sorted { $0.size > $1.size }.map {
            MemoryRegion(slot: 0, gpa: 0, size: $0.size, hva: $0.start, isReadOnly: false)
        }
    }

    /// The first candidate through which the page tables say what KVM says.
    ///
    /// - Parameters:
    ///   - special: of a vCPU that is stopped.
    ///   - linear: an address that it has mapped: its RIP's.
    ///   - truth: what KVM_TRANSLATE says of it; nil if it says that nothing is there.
    static func search(
        _ candidates: [MemoryRegion], special: SpecialRegisters, linear: UInt64, truth: UInt64?,
        read: (_ hva: UInt64, _ count: Int) -> UInt64?
    ) -> GuestMemoryMap {
        guard let largest = candidates.first else { return GuestMemoryMap(regions: [], source: .none) }
        if PagingMode(special) != .none, let truth {
            for candidate in candidates {
                let walk = PageWalk(linear, special) { gpa, count in
                    gpa < candidate.size && candidate.size - gpa >= UInt64(count)
                        ? read(candidate.hva &+ gpa, count) : nil
                }
                if walk.gpa == truth {
                    return GuestMemoryMap(regions: [candidate], source: .search(isChecked: true))
                }
            }
        }
        return GuestMemoryMap(regions: [largest], source: .search(isChecked: false))
    }
}
