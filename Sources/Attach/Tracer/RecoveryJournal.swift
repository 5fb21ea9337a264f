import DebugTarget
import Host

/// What a tracer has been told, as far as it has changed something in the VMM for it: what another one has to know to put
/// that back, should the first be killed. The tracer sees to it that the end of the front end leaves nothing behind; this
/// is the same the other way round.
struct RecoveryJournal: Sendable {
    private var process: Int32?
    private var mappingSize: UInt32 = 0
    private var syncMask: UInt64 = 0
    private(set) var vcpus: [TracedVCPU] = []
    private var regions: [MemoryRegion] = []
    /// By guest-physical address.
    private(set) var patches: [UInt64: (patch: UInt8, hidden: UInt8)] = [:]
    /// Descriptors of vCPUs whose guest debug is on.
    private(set) var armed: Set<Int32> = []

    /// A message that is about to be sent: a tracer that ends before it answers may have done what it says.
    mutating func note(_ request: TracerRequest) {
        switch request {
        case .memory(let regions): self.regions = regions
        case .synchronise(let mask): syncMask = mask
        case .patch(let gpa, let patch, let hidden):
            for (offset, byte) in hidden.enumerated() { patches[gpa &+ UInt64(offset)] = (patch, byte) }
        case .unpatch(let gpa, let count):
            for offset in 0..<UInt64(count) { patches[gpa &+ offset] = nil }
        case .callBytes(let descriptor, TracedThread.setGuestDebug, let argument)
        where TracedThread.arms(argument):
            armed.insert(descriptor)
        default: break
        }
    }

    /// What it was answered with.
    mutating func note(_ request: TracerRequest, _ reply: TracerReply) {
        switch (request, reply) {
        case (.attach(let process, let mappingSize, let syncMask, let vcpus), .attached(let valid)):
            self.process = process
            self.mappingSize = mappingSize
            self.syncMask = syncMask
            take(vcpus, valid)
        case (.add(let vcpus), .attached(let valid)): take(vcpus, valid)
        case (.callBytes(let descriptor, TracedThread.setGuestDebug, let argument), .called(0, _, _))
        where !TracedThread.arms(argument): armed.remove(descriptor)
        // Nothing is left, or the one that has it is not to be told any more.
        case (.detach, _): self = RecoveryJournal()
        default: break
        }
    }

    private mutating func take(_ new: [TracedVCPU], _ valid: [UInt64]) {
        for (var vcpu, mask) in zip(new, valid) {
            vcpu.legacy = .init(validRegisters: mask, isArmed: false)
            vcpus.append(vcpu)
        }
    }

    /// Starts another tracer, and has it keep the VMM from running, where the guest would come to something of ours
    /// otherwise. From then on that sees to it that the VMM goes on, should the front end be gone.
    ///
    /// - Returns: nil where the guest may just run on, or there is no other tracer to be had.
    func rescue(_ program: TracerProgram, _ records: ThreadRecords?) -> TracerClient? {
        guard let process, !vcpus.isEmpty else { return nil }
        let isHeld = vcpus.indices.contains { records?[$0].flags.isEmpty == false }
        guard isHeld || !armed.isEmpty || !patches.isEmpty else { return nil }
        guard let client = try? TracerClient(program) else { return nil }
        client.open(process)
        let threads = vcpus.map(\.thread).filter { $0 != 0 }
        guard (try? client.ask(.pause(process: process, threads: threads))) != nil else { return nil }
        return client
    }

    /// Puts the patched bytes back, which takes no tracing. A byte that is no patch any more is the guest's.
    func restorePatches() {
        guard let process, !patches.isEmpty else { return }
        let memory = AttachedMemory(process: process, map: GuestMemoryMap(regions: regions, source: .none))
        let ledger = PatchLedger()
        for (gpa, byte) in patches { ledger.note(gpa, byte.patch, hiding: [byte.hidden], memory, process) }
        ledger.restoreAll(process)
    }

    /// Has another tracer put everything back.
    ///
    /// - Parameter rescuer: it, where there is one already.
    /// - Returns: what became of it, in words; nil where there was nothing to be put back.
    func putBack(_ program: TracerProgram, _ records: ThreadRecords?, by rescuer: TracerClient?) -> String? {
        guard let process, !vcpus.isEmpty else { return nil }
        var vcpus = vcpus
        for index in vcpus.indices {
            if armed.contains(vcpus[index].descriptor) { vcpus[index].legacy?.isArmed = true }
            if let record = records?[index], !record.flags.isEmpty { vcpus[index].legacy?.record = record }
        }
        let isHeld = vcpus.contains { $0.legacy?.record != nil }
        do throws(HostGuestError) {
            let client: TracerClient
            if let rescuer { client = rescuer } else { client = try TracerClient(program) }
            client.open(process)
            guard !client.isVMMGone else { return "the VMM has ended, too" }
            _ = try client.ask(
                .attach(process: process, mappingSize: mappingSize, syncMask: syncMask, vcpus: vcpus))
            try client.tell(.memory(regions))
            for (gpa, byte) in patches {
                try client.tell(.patch(gpa: gpa, patch: byte.patch, hidden: [byte.hidden]))
            }
            // Guest debug takes a stop. Patches are put back without one if need be.
            if isHeld || !armed.isEmpty {
                _ = try client.ask(.stop)
            } else if !patches.isEmpty {
                _ = try? client.ask(.stop)
            }
            guard case .released(_, let debug, let pages, let bytes, _) = try client.ask(.detach) else {
                return nil
            }
            var done = ["kvm_run of \(pages) vCPU\(pages == 1 ? "" : "s")"]
            if bytes > 0 { done.append("\(bytes) patched byte\(bytes == 1 ? "" : "s")") }
            if debug > 0 { done.append("guest debug of \(debug) vCPU\(debug == 1 ? "" : "s")") }
            return "another one has put back " + done.joined(separator: ", ")
        } catch {
            return "what it had changed in process \(process) could not be put back: \(error.message)"
        }
    }
}
