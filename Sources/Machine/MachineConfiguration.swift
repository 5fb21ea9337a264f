public import DebugTarget

/// What a machine is made of.
public struct MachineConfiguration: Sendable, Hashable {
    public enum InterruptController: String, Sendable, Hashable, CaseIterable {
        /// None: HLT is an end, because nothing can wake a vCPU.
        case none
        /// Two i8259, an i8254, a real-time clock and a keyboard controller here, in the guest's own time, and no local
        /// APIC. HLT waits for them.
        case user
        /// KVM's own local APICs, IOAPIC, PIC and PIT, which live in the host's time; the other devices of ``user`` are
        /// here. HLT waits in the kernel.
        case kernel
    }

    /// What the vCPUs do that are not the boot processor.
    public enum ApplicationProcessors: String, Sendable, Hashable, CaseIterable {
        /// With interrupt controllers they wait; without, where no SIPI can come, they start at the entry.
        case automatic
        /// All start where the boot processor does, and find out who they are by CPUID.
        case startAtEntry
        /// They wait for INIT and SIPI; without interrupt controllers, for an edit of their registers.
        case wait
    }

    /// For people.
    public var name = "guest"
    /// In bytes, a multiple of 4096.
    public var ramSize: UInt64 = 64 << 20
    /// At least 1. Their ids are 0 and up; 0 is the boot processor.
    public var vcpus = 1
    public var interruptController = InterruptController.none
    /// What the real-time clock shows at first, in seconds since 1970, UTC.
    public var clockOrigin: Int64 = 0
    public var applicationProcessors = ApplicationProcessors.automatic
    /// A drive: an image's file, and what it is.
    public struct Drive: Sendable, Hashable {
        public var kind: DriveState.Kind
        public var path: String
        public init(_ kind: DriveState.Kind, path: String) {
            self.kind = kind
            self.path = path
        }
    }

    /// BIOS services, which need interrupt controllers. Without an image the first drive that can be booted is.
    public var hasBIOS = false
    /// Those services are not there after all where ``source`` is no drive, but a kernel or another program.
    public var hasBIOSForDrivesAlone = false
    /// In order; floppies have the numbers from 0, disks from 80h, CDs from E0h.
    public var drives: [Drive] = []
    /// Line A20 of the address bus is on at first.
    public var isA20On = true
    /// Nil: nothing is loaded, and the boot processor is as at reset, where no ROM answers.
    public var image: GuestImage?
    /// The file that ``image`` is read from, at each start; nil for bytes that do not change.
    public var source: ImageRequest?

    public init() {}

    /// What the guest cannot write: the BIOS.
    var rom: Range<UInt64>? {
        let range = BIOSROM.base..<BIOSROM.base + UInt64(BIOSROM.size)
        return hasBIOS && ramSize >= range.upperBound ? range : nil
    }

    var startsAll: Bool {
        switch applicationProcessors {
        case .automatic: interruptController != .kernel
        case .startAtEntry: true
        case .wait: false
        }
    }

    /// Finds what can be found without KVM.
    func check() throws(MachineError) -> RAMLayout {
        let layout = try RAMLayout(size: ramSize)
        guard vcpus >= 1 else {
            throw MachineError(
                .configuration, "a machine has 1 vCPU or more, not \(vcpus)", advice: .giveVCPUs)
        }
        guard interruptController != .user || vcpus == 1 else {
            throw MachineError(
                .configuration, "the interrupt controllers outside the kernel are for one vCPU, not \(vcpus)",
                advice: .kernelChips)
        }
        guard !hasBIOS || interruptController != .none else {
            throw MachineError(
                .configuration, "BIOS services need interrupt controllers and timers",
                advice: .chipsForBIOS)
        }
        guard drives.isEmpty || hasBIOS else {
            throw MachineError(
                .configuration, "drives are for BIOS services, and this machine has none",
                advice: .chipsForBIOS)
        }
        guard let image else { return layout }
        for part in image.parts {
            let name = image.parts.count == 1 ? image.name : "\(image.name)'s \(part.name)"
            let size = UInt64(part.bytes.count)
            guard size <= (try layout.room(for: name, at: part.address)) else {
                throw layout.oversized(name, size, at: part.address)
            }
        }
        return layout
    }
}
