import DebugTarget
import Debugger
import KVMCore
import Locking
import SystemPackage
import X86

/// A guest without KVM: a few instructions, executed while someone waits for the stop.
///
/// It knows NOP, `mov al, imm8` (B0), `out imm8, al` (E6), `jmp rel8` (EB), HLT (F4) and UD2 (0F 0B), which
/// shuts it down, in real mode; that is enough to be stepped, let go, stopped at a breakpoint, and to spin for ever.
final class FakeGuest: Target, ConsoleProviding, ImageProviding, Restarting, Assisting {
    let name = "fake"
    let exits = ExitLog()
    let vcpus: [VCPUIdentity]
    var memory: any PhysicalMemory { ram }
    var stopDescriptor: Int32 { -1 }

    let ram: FakeMemory
    private let cpus: [FakeVCPU]
    private let state = Lock(State())
    /// Nanoseconds a step.
    let times = Lock<Int64>(100)
    /// What was saved where.
    let saved = Lock<[(UInt8, String)]>([])
    /// What was typed; nil for a guest without a keyboard.
    let keyboard = Lock<[TypedKey]?>(nil)

    private struct State {
        var orders: [RunOrder] = []
        var isInterrupted = false
        var console: [UInt8] = []
    }

    let loadedImage: LoadedImage?
    private let assistance = Lock(true)
    var assists: Bool {
        get { assistance.withLock { $0 } }
        set { assistance.withLock { $0 = newValue } }
    }
    let assisted = [AssistedInstruction(name: "iret", count: 3, faults: 1, lastAddress: 0x7C04)]
    /// What the next restart loads; nil where that fails.
    let image: Lock<[UInt8]?>

    /// - Parameter code: loaded at 0x7C00, where vCPU 0 starts; the others start there too.
    init(_ code: [UInt8], vcpus count: Int = 1) {
        ram = FakeMemory(size: 1 << 20)
        ram.store(code, at: 0x7C00)
        image = Lock(code)
        loadedImage = LoadedImage(
            name: "boot\u{1B}.bin", kind: "boot", description: "a boot sector",
            parts: [.init(name: "boot sector", address: 0x7C00, size: UInt64(code.count))], entry: 0x7C00)
        vcpus = (0..<count).map { VCPUIdentity(id: $0, process: 0, thread: 0, isBoot: $0 == 0) }
        cpus = (0..<count).map { _ in FakeVCPU() }
    }

    var isRunning: Bool { state.withLock { !$0.orders.isEmpty } }

    func withVCPU<R: Sendable>(_ id: Int, _ body: @Sendable (any VCPUAccess) throws -> R) throws -> R {
        try body(cpus[id])
    }

    func resume(_ orders: [RunOrder]) throws {
        for order in orders { _ = try order.controller.begin(cpus[order.vcpu]) }
        state.withLock {
            $0.orders = orders
            $0.isInterrupted = false
        }
    }

    func interrupt() { state.withLock { $0.isInterrupted = true } }

    func waitForStop(timeout: Duration?) -> StopReport? {
        // A bounded number of turns stands for time: a guest that spins is still running after it.
        for _ in 0..<20_000 {
            let (orders, isInterrupted) = state.withLock { ($0.orders, $0.isInterrupted) }
            guard let first = orders.first else { return nil }
            if isInterrupted { return finish(orders, StopReport(vcpu: first.vcpu, reason: .interrupted)) }
            for order in orders {
                let cpu = cpus[order.vcpu]
                if let reset = reset(cpu) {
                    return finish(orders, StopReport(vcpu: order.vcpu, reason: .guestReset(reset)))
                }
                do {
                    guard let event = turn(cpu, order.vcpu) else { continue }
                    switch try order.controller.decide(event, cpu) {
                    case .resume: continue
                    case .stop(let reason):
                        return finish(orders, StopReport(vcpu: order.vcpu, reason: reason))
                    case .park: return finish(orders, StopReport(vcpu: order.vcpu, reason: .hlt))
                    }
                } catch {
                    return finish(orders, StopReport(vcpu: order.vcpu, reason: .failed(error)))
                }
            }
        }
        return nil
    }

    func restart() throws {
        guard let code = image.withLock({ $0 }) else {
            throw KVMError("read the image", .noSuchFileOrDirectory)
        }
        ram.store([UInt8](repeating: 0, count: 1 << 20), at: 0)
        ram.store(code, at: 0x7C00)
        for cpu in cpus { cpu.reset() }
    }

    private func finish(_ orders: [RunOrder], _ report: StopReport) -> StopReport {
        for order in orders { try? order.controller.end(cpus[order.vcpu]) }
        state.withLock { $0.orders = [] }
        return report
    }

    /// `out 0x64, al`: of the keyboard controller, where a machine stops before anyone is asked.
    private func reset(_ cpu: FakeVCPU) -> GuestReset? {
        let pc = cpu.special.cs.base &+ cpu.general.rip
        guard ram.byte(pc) == 0xE6, ram.byte(pc + 1) == 0x64 else { return nil }
        cpu.general.rip += 2
        return GuestReset(.keyboardController, value: cpu.general.rax & 0xFF)
    }

    /// One instruction, and what it reports.
    private func turn(_ cpu: FakeVCPU, _ id: Int) -> RunEvent? {
        let pc = cpu.special.cs.base &+ cpu.general.rip
        if cpu.guestDebug.control.contains(.hardwareBreakpoints) {
            for slot in 0..<4
            where cpu.guestDebug.dr7 >> UInt64(slot * 2) & 3 != 0 && cpu.guestDebug.addresses[slot] == pc {
                return .debug(DebugExit(exception: 1, pc: pc, dr6: 1 << UInt64(slot), dr7: 0))
            }
        }
        let isStepping = cpu.guestDebug.control.contains(.singleStep)
        switch ram.byte(pc) {
        case 0xB0:
            cpu.general.rax = cpu.general.rax & ~0xFF | UInt64(ram.byte(pc + 1))
            cpu.general.rip += 2
        case 0xE6:
            let value = UInt8(truncatingIfNeeded: cpu.general.rax)
            let exit = VCPUExit.io(
                PortIO(
                    direction: .out, port: UInt16(ram.byte(pc + 1)), size: 1,
                    data: AccessData(value: UInt64(value), count: 1)))
            state.withLock { $0.console.append(value) }
            exits.recorder(for: id).entered(exit, start: 1000, end: 3000)
            exits.recorder(for: id).handled(at: 4500)
            cpu.general.rip += 2
            return isStepping ? .handled(exit) : nil
        case 0xEB:
            let distance = Int8(bitPattern: ram.byte(pc + 1))
            cpu.general.rip = cpu.general.rip &+ 2 &+ UInt64(bitPattern: Int64(distance))
        case 0xF4:
            cpu.general.rip += 1
            exits.recorder(for: id).entered(.hlt, start: 5000, end: 6000)
            exits.recorder(for: id).handled(at: 6100)
            return .fatal(.hlt)
        case 0x0F: return .fatal(.shutdown)
        default: cpu.general.rip += 1
        }
        guard isStepping else { return nil }
        let next = cpu.special.cs.base &+ cpu.general.rip
        return .debug(DebugExit(exception: 1, pc: next, dr6: 1 << 14, dr7: 0))
    }

    // MARK: - Console

    let consoles = [ConsoleName.debug]
    func consoleOutput(_ console: ConsoleName) -> ConsoleOutput? {
        guard console == .debug else { return nil }
        return state.withLock { ConsoleOutput(total: UInt64($0.console.count), bytes: $0.console) }
    }
    /// Takes few at a time, and drops them.
    func consoleInput(_ console: ConsoleName, _ bytes: [UInt8]) -> Bool { bytes.count < 16 }
}

/// RAM from 0.
final class FakeMemory: PhysicalMemory {
    private let bytes: Lock<[UInt8]>
    private let size: Int

    init(size: Int) {
        self.size = size
        bytes = Lock([UInt8](repeating: 0, count: size))
    }

    var regions: [MemoryRegion] {
        [MemoryRegion(slot: 0, gpa: 0, size: UInt64(size), hva: 0, isReadOnly: false)]
    }

    func read(_ gpa: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(MemoryFault) {
        try check(gpa, buffer.count)
        bytes.withLock { buffer.copyBytes(from: $0[Int(gpa)..<Int(gpa) + buffer.count]) }
    }

    func write(_ gpa: UInt64, _ source: UnsafeRawBufferPointer) throws(MemoryFault) {
        try check(gpa, source.count)
        bytes.withLock { $0.replaceSubrange(Int(gpa)..<Int(gpa) + source.count, with: source) }
    }

    func store(_ code: [UInt8], at gpa: Int) {
        bytes.withLock { $0.replaceSubrange(gpa..<gpa + code.count, with: code) }
    }

    func byte(_ gpa: UInt64) -> UInt8 { bytes.withLock { Int(gpa) < size ? $0[Int(gpa)] : 0xFF } }

    private func check(_ gpa: UInt64, _ count: Int) throws(MemoryFault) {
        guard gpa < UInt64(size) else { throw MemoryFault(gpa: gpa) }
        guard UInt64(count) <= UInt64(size) - gpa else { throw MemoryFault(gpa: UInt64(size)) }
    }
}

/// The registers of one made-up vCPU, at 0000:7C00 in real mode.
// SAFETY: the tests use it from one thread.
final class FakeVCPU: VCPUSystemAccess, @unchecked Sendable {
    var general = GeneralRegisters()
    var special = SpecialRegisters()
    var debug = DebugRegisters()
    var fpuState = FPURegisters()
    var guestDebug = GuestDebug.off
    var msrs: [UInt32: UInt64] = [0x1B: 0xFEE0_0900, 0xC000_0080: 0, 0xC000_0082: 0xFFFF_8000_0000_1000]
    var state = MPState.runnable
    var pending = VCPUEvents()
    var area = XSAVEArea(bytes: [UInt8](repeating: 0, count: 4096))
    var xcr = XCR(index: 0, value: 7)
    var leaves = [
        CPUIDEntry(function: 0, eax: 0xD, ebx: 0x756E_6547, ecx: 0x6C65_746E, edx: 0x4965_6E69),
        CPUIDEntry(function: 1, eax: 0x306A9, ecx: 1 << 28, edx: 1 << 26 | 1),
        CPUIDEntry(function: 7, index: 0, flags: 1, ebx: 1 << 7),
        CPUIDEntry(function: 0xD, index: 2, flags: 1, eax: 256, ebx: 576),
        CPUIDEntry(function: 0x8000_0008, eax: 0x3028),
    ]

    init() { reset() }

    func reset() {
        (general, special, debug, guestDebug) = (
            GeneralRegisters(), SpecialRegisters(), DebugRegisters(), .off
        )
        (state, pending) = (.runnable, VCPUEvents())
        general.rip = 0x7C00
        general.rsp = 0x7C00
        special.cs = .real(0, code: true)
        for name in [SegmentName.ds, .es, .fs, .gs, .ss] { special[name] = .real(0) }
        special.cr0 = [.et]
        special.gdt.limit = 0x27
        special.idt.limit = 0x3FF
    }

    func registers() throws(KVMError) -> GeneralRegisters { general }
    func setRegisters(_ registers: GeneralRegisters) throws(KVMError) { general = registers }
    func specialRegisters() throws(KVMError) -> SpecialRegisters { special }
    func setSpecialRegisters(_ registers: SpecialRegisters) throws(KVMError) { special = registers }
    func debugRegisters() throws(KVMError) -> DebugRegisters { debug }
    func setDebugRegisters(_ registers: DebugRegisters) throws(KVMError) { debug = registers }
    func fpu() throws(KVMError) -> FPURegisters { fpuState }
    func setFPU(_ registers: FPURegisters) throws(KVMError) { fpuState = registers }
    func msr(_ index: UInt32) throws(KVMError) -> UInt64 {
        guard let value = msrs[index] else { throw KVMError("KVM_GET_MSRS", .invalidArgument) }
        return value
    }
    func setMSR(_ index: UInt32, _ value: UInt64) throws(KVMError) {
        guard msrs[index] != nil else { throw KVMError("KVM_SET_MSRS", .invalidArgument) }
        msrs[index] = value
    }
    func localAPIC() throws(KVMError) -> LocalAPICState { throw KVMError("KVM_GET_LAPIC", .invalidArgument) }
    func mpState() throws(KVMError) -> MPState { state }
    func setMPState(_ state: MPState) throws(KVMError) { self.state = state }
    func events() throws(KVMError) -> VCPUEvents { pending }
    func setEvents(_ events: VCPUEvents) throws(KVMError) { pending = events }

    // MARK: - What no step needs

    func setLocalAPIC(_ state: LocalAPICState) throws(KVMError) {
        throw KVMError("KVM_SET_LAPIC", .invalidArgument)
    }
    func xsave() throws(KVMError) -> XSAVEArea { area }
    func setXSAVE(_ area: XSAVEArea) throws(KVMError) { self.area = area }
    func xcrs() throws(KVMError) -> [XCR] { [xcr] }
    func setXCRs(_ registers: [XCR]) throws(KVMError) {
        // Bit 0 of XCR0 is always set.
        guard let first = registers.first, first.value & 1 == 1 else {
            throw KVMError("KVM_SET_XCRS", .invalidArgument)
        }
        xcr = first
    }
    func cpuid() throws(KVMError) -> [CPUIDEntry] { leaves }
    func setCPUID(_ entries: [CPUIDEntry]) throws(KVMError) {
        leaves = entries
        // This host insists on SSE2.
        for place in leaves.indices where leaves[place].function == 1 { leaves[place].edx |= 1 << 26 }
    }
    func translate(_ linear: UInt64) throws(KVMError) -> Translation {
        Translation(gpa: linear, isValid: true, isWriteable: true, isUser: true)
    }
    func setGuestDebug(_ debug: GuestDebug) throws(KVMError) { guestDebug = debug }
}

extension FakeGuest: EventDelivering {
    func delivery(of event: CatchEvent) throws(EventRefusal) -> EventDelivery {
        switch event {
        case .io, .mmio, .exit, .hlt, .tripleFault, .firmware: .exit
        case .msr, .control, .interrupt, .exception, .modeSwitch: .stepping
        }
    }
}
