public import DebugTarget
public import KVMCore
import Synchronization

/// Which events of its guest a machine of our own sees.
extension OwnedMachine: EventDelivering, MSRTrapping, IODebugProviding {
    public var ioDebug: IODebugPort { parts.ioDebug }

    private var hasKernelChips: Bool { configuration.interruptController == .kernel }

    public func delivery(of event: CatchEvent) throws(EventRefusal) -> EventDelivery {
        switch event {
        case .io(let ports, _): return Self.staysInKernel(ports, hasKernelChips) ? .stepping : .exit
        case .mmio(let range):
            guard hasKernelChips, let chip = Self.chip(range) else { return .exit }
            throw .servedInKernel(chip: chip)
        case .exit(.hlt) where hasKernelChips:
            throw .haltsInKernel
        case .exit, .tripleFault, .firmware: return .exit
        case .hlt: return hasKernelChips ? .stepping : .exit
        case .msr(let index):
            let isX2APIC = index.map { (0x800...0x8FF).contains($0) } ?? false
            return canTrapMSRWrites && !isX2APIC ? .msrFilter : .stepping
        case .interrupt, .exception, .modeSwitch, .control: return .stepping
        }
    }

    /// All of these ports are served in the kernel: those of the PIC, the PIT, the speaker's gate and the PIC's edge
    /// and level registers.
    private static func staysInKernel(_ ports: ClosedRange<UInt16>?, _ hasChips: Bool) -> Bool {
        guard hasChips, let ports else { return false }
        let inside: [ClosedRange<UInt16>] = [
            0x20...0x21, 0x40...0x43, 0x61...0x61, 0xA0...0xA1, 0x4D0...0x4D1,
        ]
        return inside.contains { $0.overlaps(ports) }
    }

    private static func chip(_ range: ClosedRange<UInt64>) -> String? {
        if range.overlaps(0xFEE0_0000...0xFEE0_0FFF) { return "local APIC" }
        return range.overlaps(0xFEC0_0000...0xFEC0_00FF) ? "I/O APIC" : nil
    }

    // MARK: MSRs

    public var canTrapMSRWrites: Bool { debugFacilities.worksEverywhere(.msrFilter) }

    public func trapMSRWrites(_ which: TrappedMSRs) throws(KVMError) {
        let denied: [MSRFilter.Range]
        switch which {
        case .none: denied = []
        case .these(let indexes): denied = indexes.sorted().map { MSRFilter.Range(first: $0, count: 1) }
        case .all: denied = Self.allMSRs
        }
        if !denied.isEmpty { try vm.vm.enableMSRFilterExits() }
        try vm.vm.setMSRFilter(MSRFilter(deniedWrites: denied))
    }

    /// Where MSRs are: Intel's, Hyper-V's, KVM's own, AMD64's and AMD's.
    private static let allMSRs = [
        MSRFilter.Range(first: 0, count: 0x2000), MSRFilter.Range(first: 0x4000_0000, count: 0x1000),
        MSRFilter.Range(first: 0x4B56_4D00, count: 0x100), MSRFilter.Range(first: 0xC000_0000, count: 0x2000),
        MSRFilter.Range(first: 0xC001_0000, count: 0x2000),
    ]
}
