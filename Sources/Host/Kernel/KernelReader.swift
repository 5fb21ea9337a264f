import CLinux
import Glibc
package import KVMCore
import Locking

/// Reads KVM's own structures in the kernel, with no stop of anything: a BPF iterator over a process's files
/// gives `file->private_data`, which is a VM's `struct kvm` or a vCPU's `struct kvm_vcpu`; a second program
/// reads eight bytes of kernel memory at a time; BTF says where the members are.
package final class KernelReader: Sendable {
    private let files: BPFProgram
    private let word: BPFProgram
    package let layout: KVMLayout

    private static let single = Lock<Result<KernelReader, HostGuestError>?>(nil)

    /// Made at the first call, and used by all.
    package static func shared() throws(HostGuestError) -> KernelReader {
        let result = single.withLock { state in
            let result =
                state
                ?? Result { () throws(HostGuestError) in
                    try KernelReader()
                }
            state = result
            return result
        }
        return try result.get()
    }

    private init() throws(HostGuestError) {
        let layout = try KVMLayout.ofThisKernel()
        self.layout = layout
        typealias I = BPFProgram.Instruction
        let frame = BPFProgram.frame
        // if (!ctx->file) return 0; record = { ctx->fd, ctx->file->private_data, ctx->task ? ctx->task->mm : 0 };
        // bpf_seq_write(meta->seq, record)
        let owner: [I] =
            layout.owner.map {
                [
                    .load64(1, 6, $0.iteratorTask), .skipUnlessZero(1, 2), .set(0, 0), .exit,
                    .load64(1, 1, $0.taskMM),
                ]
            } ?? [.set(1, 0)]
        files = try BPFProgram(
            type: clinux_bpf_tracing_program, attach: clinux_bpf_trace_iterator,
            target: layout.iterator,
            [
                .copy(6, 1), .load64(7, 6, layout.iteratorFile), .skipUnlessZero(7, 2), .set(0, 0), .exit,
                .load32(1, 6, layout.iteratorDescriptor), .store64(frame, -24, 1),
                .load64(1, 7, layout.filePrivate), .store64(frame, -16, 1),
            ] + owner + [
                .store64(frame, -8, 1), .load64(1, 6, layout.iteratorMeta),
                .load64(1, 1, layout.metaSequence), .copy(2, frame), .add(2, -24), .set(3, 24),
                .call(BPFProgram.Helper.sequenceWrite), .set(0, 0), .exit,
            ])
        // context = { address, value, result }
        word = try BPFProgram(
            type: clinux_bpf_syscall_program, flags: UInt32(clinux_bpf_sleepable),
            [
                .copy(6, 1), .load64(3, 6, 0), .set(1, 0), .store64(frame, -8, 1), .copy(1, frame),
                .add(1, -8), .set(2, 8), .call(BPFProgram.Helper.probeReadKernel), .store64(6, 16, 0),
                .load64(1, frame, -8), .store64(6, 8, 1), .set(0, 0), .exit,
            ])
    }

    /// What the kernel knows of a VMM's guest.
    package struct Facts: Sendable {
        package var slots: [MemorySlot]?
        /// By vCPU id.
        package var threads: [Int: Int32] = [:]
        /// The ids of vCPUs that have never been in KVM_RUN.
        var untouched: Set<Int> = []
        /// KVM_GUESTDBG_* that are on, by vCPU id.
        package var guestDebug: [Int: UInt32] = [:]
        /// SEV-ES, SEV-SNP or TDX.
        package var isProtected = false
        /// KVM_X86_*_VM; nil where this kernel knows one kind only.
        var machineType: UInt8?

        /// The writable memory of the guest, in bytes. What lies right below 4 GiB is that of devices, as a screen's:
        /// no VMM puts RAM there.
        package var ram: UInt64? {
            slots.map { slots in
                slots.filter {
                    !$0.flags.contains(.readOnly) && !(0xE000_0000..<0x1_0000_0000).contains($0.gpa)
                }
                .reduce(0) { $0 &+ $1.size }
            }
        }
    }

    package func facts(of process: Int32, vm: Int32?, vcpus: [HostVCPU]) -> Facts? {
        guard let objects = privateData(of: process)?.objects else { return nil }
        let threads = Set(ProcessFiles(process).threads)
        var facts = Facts()
        var machine = vm.flatMap { objects[$0] }
        for vcpu in vcpus {
            guard let object = objects[vcpu.descriptor] else { continue }
            // A vCPU's descriptor keeps the VM alive after the VM's own is closed.
            machine = machine ?? read(object &+ layout.vcpuVM)
            // struct pid holds a number a namespace; the one that is a thread of the VMM here is meant.
            let pid = read(object &+ layout.vcpuPID)
            if pid == 0 { facts.untouched.insert(vcpu.id) }
            if let pid, pid != 0 {
                for level in 0..<UInt64(4) {
                    guard let number = read32(pid &+ layout.pidNumbers &+ level &* layout.pidNumberSize)
                    else { break }
                    if threads.contains(Int32(bitPattern: number)) {
                        facts.threads[vcpu.id] = Int32(bitPattern: number)
                        break
                    }
                }
            }
            facts.guestDebug[vcpu.id] = read32(object &+ layout.vcpuGuestDebug)
            if let offset = layout.vcpuProtected, let value = read32(object &+ offset), value & 0xFF != 0 {
                facts.isProtected = true
            }
        }
        facts.slots = machine.flatMap(slots)
        if let machine, let offset = layout.machineProtected, let value = read32(machine &+ offset),
            value & 0xFF != 0
        {
            facts.isProtected = true
        }
        if let machine, let offset = layout.machineType {
            facts.machineType = read32(machine &+ offset).map { UInt8(truncatingIfNeeded: $0) }
        }
        return facts
    }

    /// `struct kvm_vcpu` of a vCPU. It lives as long as its descriptor; a read after that gives something else, or
    /// nothing, and harms nobody.
    package struct VCPUObject: Sendable {
        package var address: UInt64
    }

    package func object(of process: Int32, vcpu descriptor: Int32) -> VCPUObject? {
        privateData(of: process)?.objects[descriptor].map(VCPUObject.init)
    }

    /// KVM_MP_STATE_* as it is now; nil where this kernel keeps it elsewhere.
    package func mpState(_ vcpu: VCPUObject) -> UInt32? {
        layout.vcpuMPState.flatMap { read32(vcpu.address &+ $0) }
    }

    /// KVM_GUESTDBG_* of one vCPU as it is now.
    package func guestDebug(of process: Int32, vcpu descriptor: Int32) -> UInt32? {
        privateData(of: process)?.objects[descriptor].flatMap { read32($0 &+ layout.vcpuGuestDebug) }
    }

    /// What belongs together among a process's KVM descriptors.
    package struct Kinship: Sendable {
        /// The VM of each descriptor of a VM or vCPU: the address of its `struct kvm`.
        package var machines: [Int32: UInt64] = [:]
        /// VMs that a process of another address space made: KVM refuses this one's calls. Source: kvm_vcpu_ioctl in
        /// virt/kvm/kvm_main.c.
        package var foreign: Set<UInt64> = []
    }

    func kinship(of process: Int32, _ descriptors: [(descriptor: Int32, kind: KVMDescriptor)]) -> Kinship? {
        guard let (objects, space) = privateData(of: process) else { return nil }
        var kinship = Kinship()
        for (descriptor, kind) in descriptors {
            guard let object = objects[descriptor] else { continue }
            switch kind {
            case .vm: kinship.machines[descriptor] = object
            case .vcpu: kinship.machines[descriptor] = read(object &+ layout.vcpuVM)
            case .vcpuStatistics, .other: break
            }
        }
        guard let offset = layout.owner?.kvmMM, space != 0 else { return kinship }
        for machine in Set(kinship.machines.values) {
            if let maker = read(machine &+ offset), maker != space { kinship.foreign.insert(machine) }
        }
        return kinship
    }

    /// `file->private_data` of every descriptor of a process, and its address space: `task->mm`, or 0.
    private func privateData(of process: Int32) -> (objects: [Int32: UInt64], space: UInt64)? {
        let iterator = clinux_bpf_iterate(files.descriptor, process)
        guard iterator >= 0 else { return nil }
        defer { close(iterator) }
        var objects = [Int32: UInt64]()
        var space: UInt64 = 0
        // A read may end within a record: what is left of it is held over.
        var buffer = [UInt64](repeating: 0, count: 3 * 256)
        var held = 0
        while true {
            // SAFETY: the read is cut to what is left of the buffer after the bytes held over.
            let got = buffer.withUnsafeMutableBytes { bytes in
                Glibc.read(iterator, bytes.baseAddress.map { $0 + held }, bytes.count - held)
            }
            guard got > 0 else { return got == 0 ? (objects, space) : nil }
            held += got
            for record in 0..<held / 24 {
                objects[Int32(truncatingIfNeeded: buffer[record * 3])] = buffer[record * 3 + 1]
                space = buffer[record * 3 + 2]
            }
            let whole = held / 24 * 3
            for index in 0..<3 { buffer[index] = whole + index < buffer.count ? buffer[whole + index] : 0 }
            held %= 24
        }
    }

    /// Eight bytes of kernel memory; nil where there is none.
    package func read(_ address: UInt64) -> UInt64? {
        var context = (address, UInt64(0), UInt64(0))
        // SAFETY: the program was loaded for a context of these three words.
        let result = withUnsafeMutableBytes(of: &context) {
            clinux_bpf_run(word.descriptor, $0.baseAddress, UInt32($0.count))
        }
        return result >= 0 && context.2 == 0 ? context.1 : nil
    }

    private func read32(_ address: UInt64) -> UInt32? { read(address).map { UInt32(truncatingIfNeeded: $0) } }

    /// The memslots of the first address space, by GPA.
    private func slots(of machine: UInt64) -> [MemorySlot]? {
        // Nothing is locked: a walk during which the VMM changed its slots is made again.
        for _ in 0..<8 {
            guard let slots = read(machine &+ layout.kvmSlots),
                let before = read(slots &+ layout.slotsGeneration),
                let found = walk(slots), let now = read(machine &+ layout.kvmSlots),
                let after = read(now &+ layout.slotsGeneration)
            else { return nil }
            if slots == now, before == after { return found.sorted { $0.gpa < $1.gpa } }
        }
        return nil
    }

    /// The red-black tree of slots by guest frame number (Linux 5.17 and later).
    private func walk(_ slots: UInt64) -> [MemorySlot]? {
        guard let index = read32(slots &+ layout.slotsNodeIndex), index < 2,
            let root = read(slots &+ layout.slotsTree)
        else { return nil }
        var found = [MemorySlot]()
        var waiting = [root]
        var visited = 0
        while let node = waiting.popLast() {
            if node == 0 { continue }
            visited += 1
            // KVM_USER_MEM_SLOTS; more would be a loop.
            guard visited <= 32768, let left = read(node &+ layout.nodeLeft),
                let right = read(node &+ layout.nodeRight)
            else { return nil }
            waiting += [left, right]
            let slot = node &- layout.slotNode &- UInt64(index) &* layout.slotNodeSize
            guard let frame = read(slot &+ layout.slotFrame), let pages = read(slot &+ layout.slotPages),
                let hva = read(slot &+ layout.slotAddress), let flags = read32(slot &+ layout.slotFlags),
                let id = read32(slot &+ layout.slotID), frame < 1 << 52, pages < 1 << 40
            else { return nil }
            found.append(
                MemorySlot(
                    slot: id & 0xFFFF, gpa: frame << 12, size: pages << 12, hostAddress: hva,
                    flags: MemoryFlags(rawValue: flags)))
        }
        return found
    }
}
