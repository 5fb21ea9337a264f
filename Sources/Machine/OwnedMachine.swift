public import DebugTarget
import Glibc
public import KVMCore
import Locking

/// A guest of our own: a VM with RAM, a few devices, and a thread for each vCPU.
///
/// When the machine goes, its guest is stopped, its threads end, and its descriptors are closed.
public final class OwnedMachine: Target {
    public let name: String
    public let configuration: MachineConfiguration
    public let memory: any PhysicalMemory
    public let exits: ExitLog
    public let debugAbilities: GuestDebug.Control
    public var debugFacilities: DebugFacilities { .ofHost }

    /// One vCPU and the thread that runs it.
    struct Member: Sendable {
        let runner: VCPURunner
        let isBoot: Bool
        /// What it was before it ran.
        let start: VCPUStartState
        /// It starts where the image says.
        let startsAtEntry: Bool

        var thread: VCPUThread { runner.thread }
    }

    let vm: MachineVM
    let supportedCPUID: [CPUIDEntry]
    let supportedMSRs: [UInt32]
    let parts: MachineParts
    /// The BIOS starts it, from a drive.
    let bootsDrive: Bool
    /// What was loaded last.
    let loaded: Lock<GuestImage?>
    /// The kernel's interrupt controllers before the guest ran; nil where there are none.
    let kernelChips: KernelChipState?
    /// In the order of creation.
    let members = Lock<[Member]>([])
    let counters = KernelCounters()
    let debugConsole = ConsoleBuffer()
    let serialConsole = ConsoleBuffer()
    let serialPort: UART
    /// Counts when work given to a vCPU's thread is done.
    private let jobsDone = JobEvents()

    /// Opens /dev/kvm and makes the machine.
    public convenience init(_ configuration: MachineConfiguration) throws {
        try self.init(configuration, kvm: try KVM.open())
    }

    /// Makes the machine, loads the image and sets the boot processor to its entry; nothing runs yet.
    ///
    /// - Throws: `MachineError` for what the configuration asks in vain, `KVMError` where KVM refuses.
    public init(_ configuration: MachineConfiguration, kvm: borrowing KVM) throws {
        var configuration = configuration
        var driveIdentity: ImageIdentity?
        if let source = configuration.source {
            if configuration.hasBIOS, let (drive, identity) = try source.drive() {
                configuration.drives.insert(drive, at: 0)
                configuration.source = nil
                driveIdentity = identity
            } else {
                if configuration.hasBIOSForDrivesAlone { configuration.hasBIOS = false }
                configuration.image = try source.load(configuration)
            }
        }
        let layout = try configuration.check()
        let vm = MachineVM(try kvm.createVM())
        // VMX without "unrestricted guest" needs both pages, in the hole that RAM leaves; others ignore them.
        try vm.vm.setTSSAddress(0xFFFB_D000)
        try vm.vm.setIdentityMapAddress(0xFFFB_C000)
        var serialLine: (any InterruptLine)?
        if configuration.interruptController == .kernel {
            try vm.vm.createInterruptController()
            try vm.vm.createPIT()
            serialLine = KernelInterruptLine(vm: vm, gsi: 4)
        }
        let memory = try MachineMemory(layout, rom: configuration.rom, vm: vm)
        if let image = configuration.image { try Self.load(image, into: memory) }
        let a20 = AddressLine20(isOn: configuration.isA20On) { isOn in
            // Memory that has been cut this way before can be again.
            try? memory.setA20(isOn)
        }
        var chips: MachineChips?
        var devices: BoardDevices?
        switch configuration.interruptController {
        case .none: break
        case .user:
            let made = MachineChips(origin: configuration.clockOrigin, a20: a20)
            chips = made
            devices = made.devices
            serialLine = ControllerLine(pair: made.controllers, number: 4)
        case .kernel:
            devices = BoardDevices(
                origin: configuration.clockOrigin, a20: a20,
                keyboardLine: KernelInterruptLine(vm: vm, gsi: 1),
                clockLine: KernelInterruptLine(vm: vm, gsi: 8))
        }
        if devices != nil, !configuration.isA20On { try memory.setA20(false) }
        let serialPort = UART(output: serialConsole, line: serialLine)
        let ioDebug = IODebugPort()
        let screen = TextAdapter()
        var bios: BIOS?
        var bootsDrive = false
        if configuration.hasBIOS, let devices {
            let made = try Self.makeBIOS(configuration, devices, serialPort, screen, layout, memory)
            bios = made
            try Self.initialiseAsBIOS(chips, vm)
            if configuration.image == nil {
                let image = try made.bootImage(configuration, driveIdentity)
                configuration.image = image
                bootsDrive = true
                try Self.load(image, into: memory)
            }
        }
        let board = Board(
            ports: Bus(
                Self.ports(
                    debugConsole: debugConsole, serialPort: serialPort, ioDebug: ioDebug,
                    chips: chips?.ports ?? devices?.ports,
                    screen: configuration.hasBIOS ? screen : nil)),
            memory: Bus())
        let abilities = GuestDebug.Control(
            rawValue: UInt32(bitPattern: kvm.check(.setGuestDebug2)))

        name = configuration.name
        self.configuration = configuration
        self.memory = memory
        exits = ExitLog()
        debugAbilities =
            abilities.isEmpty
            ? [.enable, .singleStep, .softwareBreakpoints, .hardwareBreakpoints] : abilities
        self.vm = vm
        loaded = Lock(configuration.image)
        self.bootsDrive = bootsDrive
        kernelChips = configuration.interruptController == .kernel ? try KernelChipState(of: vm.vm) : nil
        supportedCPUID = try kvm.supportedCPUID()
        supportedMSRs = try kvm.msrIndexList()
        self.serialPort = serialPort
        parts = MachineParts(
            board: board, coordinator: try RunCoordinator(), memory: memory,
            assist: AssistRecord(), ioDebug: ioDebug, chips: chips,
            devices: devices, serialPort: serialPort, bios: bios)

        for id in 0..<configuration.vcpus {
            let starts = id == 0 || configuration.startsAll
            try makeVCPU(id: id, entry: starts ? configuration.image?.entry : nil, startsAtEntry: starts)
        }
        if let bios, bootsDrive { try boot(bios) }
    }

    /// What answers at the ports, by first port and how many there are.
    private static func ports(
        debugConsole: ConsoleBuffer, serialPort: UART, ioDebug: IODebugPort,
        chips: [(base: UInt64, size: UInt64, device: any Device)]?, screen: TextAdapter?
    ) -> [(base: UInt64, size: UInt64, device: any Device)] {
        let own: [(base: UInt64, size: UInt64, device: any Device)] = [
            (0xE9, 1, DebugConsole(output: debugConsole)),
            (0xF4, 4, DebugExitDevice()),
            (0x3F8, 8, serialPort),
            (0x600, 4, PowerEventRegisters()),
            (0x604, 2, PowerControl()),
            (0xCF9, 1, ResetControl()),
            (0x8A00, 2, IODebugDevice(port: ioDebug)),
        ]
        let shown = screen.map { [(TextAdapter.first, TextAdapter.count, $0 as any Device)] } ?? []
        return own + shown + (chips ?? [(0x64, 1, KeyboardControllerReset())])
    }

    deinit {
        parts.coordinator.stopAll(.interrupted)
        for member in members.withLock({ $0 }) { member.thread.end() }
    }

    // MARK: Target

    public var vcpus: [VCPUIdentity] {
        members.withLock { $0 }.map(identity)
    }

    func identity(_ member: Member) -> VCPUIdentity {
        VCPUIdentity(
            id: member.thread.id, process: getpid(), thread: member.thread.threadID, isBoot: member.isBoot)
    }

    public var isRunning: Bool { parts.coordinator.isRunning }

    public var stopDescriptor: Int32 { parts.coordinator.stopDescriptor }

    private func runner(_ id: Int) throws(MachineError) -> VCPURunner {
        guard let member = members.withLock({ $0.first { $0.thread.id == id } }) else {
            throw MachineError(.noVCPU, "there is no vCPU \(id)", advice: .listVCPUs)
        }
        return member.runner
    }

    /// Must not be called from a controller, which has the vCPU already.
    public func withVCPU<R: Sendable>(_ id: Int, _ body: @Sendable (any VCPUAccess) throws -> R) throws -> R {
        let thread = try runner(id).thread
        let reply = Reply<R>()
        withoutActuallyEscaping(body) { body in
            // The job drops the closure before it says that it is done.
            let job = Job(events: jobsDone) { vcpu in reply.fill(Result { try body(vcpu) }) }
            thread.perform(job)
            job.wait()
        }
        return try reply.get()
    }

    public func resume(_ orders: [RunOrder]) throws {
        var threads: [VCPUThread] = []
        for order in orders {
            guard !threads.contains(where: { $0.id == order.vcpu }) else {
                throw MachineError(.configuration, "vCPU \(order.vcpu) is to run twice at the same time")
            }
            threads.append(try runner(order.vcpu).thread)
        }
        guard !threads.isEmpty else { throw MachineError(.noVCPU, "no vCPU is to run") }
        // Found before the threads of vCPUs ask for it.
        _ = VCPURunner.staysAtHighInterrupts
        guard parts.coordinator.start(threads, { orders[$0].controller }) else {
            throw MachineError(.running, "the guest runs", remedy: "stop it first")
        }
    }

    public func interrupt() { parts.coordinator.stopAll(.interrupted) }

    public func waitForStop(timeout: Duration?) -> StopReport? {
        let deadline = timeout.map { monotonicTime() &+ $0.wholeNanoseconds }
        return parts.coordinator.wait(until: deadline)
    }

    // MARK: what only a machine has

    /// How the guest switched itself off, after a stop for ``StopReason/poweredOff``.
    public var powerOff: PowerOff? { parts.powerOff.withLock { $0 } }

    /// Accesses that neither RAM nor a device answered: reads gave all ones, writes were dropped.
    public var unclaimedAccesses: (portReads: UInt64, portWrites: UInt64, reads: UInt64, writes: UInt64) {
        let ports = parts.board.ports.unclaimed
        let memory = parts.board.memory.unclaimed
        return (ports.reads, ports.writes, memory.reads, memory.writes)
    }
}

/// A VM that several hold.
final class MachineVM: Sendable {
    let vm: VirtualMachine
    init(_ vm: consuming VirtualMachine) { self.vm = vm }
}

/// A pin of KVM's interrupt controllers.
struct KernelInterruptLine: InterruptLine {
    let vm: MachineVM
    let gsi: UInt32

    func set(_ isHigh: Bool) {
        // Only a VM without interrupt controllers refuses, and then this line is not made.
        try? vm.vm.setIRQLine(gsi, isHigh)
    }
}
