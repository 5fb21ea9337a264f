import DebugTarget
import Host
import KVMCore

/// What a VMM was seen to ask KVM for, from its start to its first KVM_RUN.
struct LaunchedMachine: Sendable, Hashable {
    struct VCPU: Sendable, Hashable {
        var id: Int32
        /// In the VMM.
        var descriptor: Int32
        /// The thread that came to KVM_RUN with it or, if none did yet, the one that made it.
        var thread: Int32
        /// It stands at its first KVM_RUN.
        var hasArrived = false
    }
    var process: Int32
    /// In the VMM.
    var descriptor: Int32
    var vcpus: [VCPU] = []
    /// By slot number; address space 0 alone.
    private(set) var slots: [UInt32: MemoryRegion] = [:]

    init(process: Int32, descriptor: Int32) {
        self.process = process
        self.descriptor = descriptor
    }

    /// What was seen of its vCPUs, as a guest of the host has them.
    var hostVCPUs: [HostVCPU] {
        vcpus.map {
            HostVCPU(id: Int($0.id), descriptor: $0.descriptor, thread: $0.thread, threadSource: .calls)
        }
    }

    /// By GPA.
    var regions: [MemoryRegion] { slots.values.sorted { $0.gpa < $1.gpa } }

    /// Takes in KVM_SET_USER_MEMORY_REGION or KVM_SET_USER_MEMORY_REGION2, which begin alike.
    mutating func set(_ region: Region) {
        guard region.slot >> 16 == 0 else { return }
        guard region.size > 0 else {
            slots[region.slot] = nil
            return
        }
        slots[region.slot] = MemoryRegion(
            slot: Int(region.slot), gpa: region.gpa, size: region.size, hva: region.hostAddress,
            isReadOnly: region.flags.contains(.readOnly))
    }

    /// What KVM_SET_USER_MEMORY_REGION was given. The address space is in the upper half of the slot's number.
    typealias Region = MemorySlot

    mutating func made(_ id: Int32, _ descriptor: Int32, by thread: Int32) {
        vcpus.removeAll { $0.id == id }
        vcpus.append(VCPU(id: id, descriptor: descriptor, thread: thread))
        vcpus.sort { $0.id < $1.id }
    }

    /// Where a launched VMM stands.
    enum Progress: Sendable, Hashable {
        /// It has not asked for a VM yet.
        case starting
        /// It has a VM that has not run yet.
        case hasMachine
        /// All vCPUs that could be waited for stand at their first KVM_RUN.
        case ready(LaunchedMachine)
        /// It is a 32-bit program.
        case bits32
        /// It has ended, with this status of waitpid.
        case ended(status: Int32)
    }
}

extension WireWriter {
    mutating func put(_ machine: LaunchedMachine) {
        put(machine.process)
        put(machine.descriptor)
        put(UInt16(clamping: machine.vcpus.count))
        for vcpu in machine.vcpus.prefix(Int(UInt16.max)) {
            put(vcpu.id)
            put(vcpu.descriptor)
            put(vcpu.thread)
            put(UInt8(vcpu.hasArrived ? 1 : 0))
        }
        let regions = machine.regions
        put(UInt16(clamping: regions.count))
        for region in regions.prefix(Int(UInt16.max)) {
            put(UInt32(truncatingIfNeeded: region.slot))
            put(UInt32(region.isReadOnly ? 2 : 0))
            put(region.gpa)
            put(region.size)
            put(region.hva)
        }
    }

    mutating func put(_ progress: LaunchedMachine.Progress) {
        switch progress {
        case .starting: put(UInt8(0))
        case .hasMachine: put(UInt8(1))
        case .ready(let machine):
            put(UInt8(2))
            put(machine)
        case .bits32: put(UInt8(3))
        case .ended(let status):
            put(UInt8(4))
            put(status)
        }
    }
}

extension WireReader {
    mutating func machine() -> LaunchedMachine? {
        guard let process = take(Int32.self), let descriptor = take(Int32.self),
            let count = take(UInt16.self)
        else { return nil }
        var machine = LaunchedMachine(process: process, descriptor: descriptor)
        for _ in 0..<count {
            guard let id = take(Int32.self), let descriptor = take(Int32.self), let thread = take(Int32.self),
                let arrived = take(UInt8.self), arrived < 2
            else { return nil }
            machine.vcpus.append(
                .init(id: id, descriptor: descriptor, thread: thread, hasArrived: arrived == 1))
        }
        guard let slots = take(UInt16.self) else { return nil }
        for _ in 0..<slots {
            guard let bytes = take(LaunchedMachine.Region.byteCount),
                let region = LaunchedMachine.Region(bytes), region.size > 0
            else { return nil }
            machine.set(region)
        }
        return machine
    }

    mutating func progress() -> LaunchedMachine.Progress? {
        switch take(UInt8.self) {
        case 0: .starting
        case 1: .hasMachine
        case 2: machine().map { .ready($0) }
        case 3: .bits32
        case 4: take(Int32.self).map { .ended(status: $0) }
        default: nil
        }
    }
}
