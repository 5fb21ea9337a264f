import DebugTarget
import Glibc
import KVMCore
import Locking
import TargetConformance
import X86

/// What this host's KVM was seen to do, where a test needs more than debug facilities.
enum HostTrial {
    /// A vCPU runs again after a triple fault, once its registers are set. Where the processor of a host is emulated it was
    /// seen to take one nested page fault for ever.
    static let runsAfterShutdown: Bool = {
        let trial = ShutdownTrial()
        guard let thread = try? KickSignal.startThread({ trial.run() }) else { return false }
        let end = ContinuousClock.now + .paced(5)
        while !trial.isOver, ContinuousClock.now < end { usleep(2000) }
        let isInTime = trial.isOver
        while !trial.isOver {
            trial.immediateExit?.request()
            // Not joined yet: its handle is good.
            pthread_kill(thread, KickSignal.number)
            usleep(10_000)
        }
        pthread_join(thread, nil)
        return isInTime && trial.hasRun
    }()
}

/// One vCPU: a triple fault in 32-bit code, then an OUT in real mode.
private final class ShutdownTrial: Sendable {
    private struct State {
        var immediateExit: ImmediateExit?
        var hasRun = false
        var isOver = false
    }

    private let state = Lock(State())
    var immediateExit: ImmediateExit? { state.withLock { $0.immediateExit } }
    var hasRun: Bool { state.withLock { $0.hasRun } }
    var isOver: Bool { state.withLock { $0.isOver } }

    func run() {
        let hasRun = (try? runsAgain()) ?? false
        state.withLock { state in
            state.hasRun = hasRun
            state.isOver = true
        }
    }

    private func runsAgain() throws -> Bool {
        let kvm = try KVM.open()
        let vm = try kvm.createVM()
        let memory = try GuestMemory(size: 0x10000)
        try vm.setMemoryRegion(slot: 0, gpa: 0, memory: memory)
        let vcpu = try vm.createVCPU(id: 0)
        try vcpu.setCPUID(try kvm.supportedCPUID())
        let exit = vcpu.immediateExit
        state.withLock { $0.immediateExit = exit }
        // ud2, and at 2000h nop; out 0x80, al
        try memory.write(0x1000, [0x0F, 0x0B])
        try memory.write(0x2000, [0x90, 0xE6, 0x80])
        let reset = try vcpu.specialRegisters()
        var special = reset
        special.cr0.insert(.pe)
        special.cs = Segment(
            limit: 0xFFFF_FFFF, selector: 8, attributes: SegmentAttributes(rawValue: 0xC09B))
        special.ss = Segment(
            limit: 0xFFFF_FFFF, selector: 16, attributes: SegmentAttributes(rawValue: 0xC093))
        special.idt = DescriptorTable(base: 0, limit: 0)
        try vcpu.setSpecialRegisters(special)
        var general = GeneralRegisters()
        general.rip = 0x1000
        try vcpu.setRegisters(general)
        guard try vcpu.run() == .shutdown else { return false }
        special = reset
        special.cs = .real(0, code: true)
        try vcpu.setSpecialRegisters(special)
        general.rip = 0x2000
        try vcpu.setRegisters(general)
        if case .io = try vcpu.run() { return true }
        return false
    }
}
