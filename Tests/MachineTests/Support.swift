import DebugTarget
import Debugger
import Examples
import Glibc
import KVMCore
import Locking
import Machine
import Synchronization
import TargetConformance
import Testing
import X86

/// Live suites run where /dev/kvm is, and always under CI=true, where its absence is a failure.
let isLive = KVM.isAvailable || getenv("CI").map { String(cString: $0) == "true" } ?? false

/// An embedded example guest.
func example(_ name: String) throws -> (image: GuestImage, vcpus: Int) {
    for index in 0..<examples_count() {
        // SAFETY: the table and what it points to are constants of the program.
        guard let guest = examples_at(index)?.pointee, String(cString: guest.name) == name else { continue }
        // SAFETY: `size` bytes stand at `bytes`.
        let bytes = Array(UnsafeBufferPointer(start: guest.bytes, count: guest.size))
        return (try GuestImage(name: name, bytes: bytes, at: guest.load_address), Int(guest.vcpus))
    }
    throw MachineError(.unreadable, "no example \(name)")
}

func machine(_ name: String, _ change: (inout MachineConfiguration) -> Void = { _ in }) throws -> OwnedMachine
{
    let (image, vcpus) = try example(name)
    var configuration = MachineConfiguration()
    configuration.name = name
    configuration.image = image
    configuration.vcpus = vcpus
    change(&configuration)
    return try OwnedMachine(configuration)
}

/// A machine that runs `code`, loaded and started at 0000:7C00.
func machine(code: [UInt8], _ change: (inout MachineConfiguration) -> Void = { _ in }) throws -> OwnedMachine
{
    var configuration = MachineConfiguration()
    configuration.image = try GuestImage(name: "code", bytes: code, at: 0x7C00)
    change(&configuration)
    return try OwnedMachine(configuration)
}

extension OwnedMachine {
    /// Lets every vCPU go, each under a controller of its own.
    @discardableResult
    func go(_ make: () -> any RunController = { FreeRun() }) throws -> [any RunController] {
        let orders = vcpus.map { RunOrder(vcpu: $0.id, controller: make()) }
        try resume(orders)
        return orders.map(\.controller)
    }

    /// Lets every vCPU go and waits for the stop; a guest that hangs fails the test.
    func runToStop(_ make: () -> any RunController = { FreeRun() }) throws -> StopReport {
        try go(make)
        return try #require(waitForStop(timeout: .paced(60)))
    }

    func text(_ console: ConsoleName) -> String {
        String(decoding: consoleOutput(console)?.bytes ?? [], as: UTF8.self)
    }
}

/// The reason that a debugger gives for an exit that the guest cannot go on from.
func reason(_ exit: VCPUExit) -> StopReason {
    switch exit {
    case .hlt: .hlt
    case .shutdown: .tripleFault
    case .internalError(let error): .internalError(error)
    case .failEntry(let reason, let cpu): .failEntry(hardwareReason: reason, cpu: cpu)
    default: .exit(exit)
    }
}

/// Runs until something fatal; a HLT parks.
final class FreeRun: RunController {
    let ends = Atomic<Int>(0)
    let handled = Atomic<Int>(0)
    let seesHandledExits: Bool

    init(seesHandledExits: Bool = false) { self.seesHandledExits = seesHandledExits }

    func begin(_ vcpu: any VCPUAccess) throws(KVMError) -> Verdict { .resume }

    func decide(_ event: RunEvent, _ vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        switch event {
        case .handled:
            handled.wrappingAdd(1, ordering: .relaxed)
            return .resume
        case .debug, .claimed, .serviced, .patch: return .resume
        case .fatal(.hlt): return .park
        case .fatal(let exit): return .stop(reason(exit))
        }
    }

    func end(_ vcpu: any VCPUAccess) throws(KVMError) { ends.wrappingAdd(1, ordering: .relaxed) }
}

/// Steps so many instructions, and keeps where each ended.
final class Steps: RunController {
    private let count: Int
    private let trace = Lock<[UInt64]>([])
    private let last = Lock<UInt64?>(nil)

    init(_ count: Int) { self.count = count }

    /// RIP after each step.
    var addresses: [UInt64] { trace.withLock { $0 } }

    func begin(_ vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        try arm(vcpu)
        let rip = try vcpu.registers().rip
        last.withLock { $0 = rip }
        return .resume
    }

    func decide(_ event: RunEvent, _ vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        switch event {
        case .fatal(let exit): return .stop(reason(exit))
        case .debug, .handled, .claimed, .serviced, .patch:
            let rip = try vcpu.registers().rip
            let done = trace.withLock { trace in
                trace.append(rip)
                return trace.count
            }
            guard done < count else { return .stop(.step(count: done)) }
            try arm(vcpu)
            return .resume
        }
    }

    /// Before each step: where hosts step with TF, KVM sets it only at the RIP at which guest debug was set.
    private func arm(_ vcpu: any VCPUAccess) throws(KVMError) {
        try vcpu.setGuestDebug(GuestDebug(control: [.enable, .singleStep]))
    }

    func end(_ vcpu: any VCPUAccess) throws(KVMError) {
        try vcpu.setGuestDebug(.off)
    }
}
