public import DebugTarget
import Host
import KVMCore
import Locking
import X86

extension OwnedMachine: VCPUCreating {
    /// A new vCPU is stopped until the next ``Target/resume(_:)``, also while the others run.
    ///
    /// With interrupt controllers and no entry it waits for INIT and SIPI; without either, at the reset vector, until
    /// its registers are set.
    public func createVCPU(id: Int?, at entry: UInt64?) throws -> VCPUCreation {
        var start: GuestImage.Entry?
        if let entry {
            start = GuestImage.Entry.at(entry)
            guard start != nil else {
                throw MachineError(
                    .configuration, "a vCPU cannot start at \(hex(entry))",
                    remedy: "the entry must lie below 4 GiB")
            }
        }
        let taken = Set(members.withLock { $0.map(\.thread.id) })
        // One more than there are: one of them is free.
        let free = (0...taken.count).first { !taken.contains($0) } ?? taken.count
        return try makeVCPU(id: id ?? free, entry: start)
    }

    @discardableResult
    func makeVCPU(
        id: Int, entry: GuestImage.Entry?, startsAtEntry: Bool = false
    ) throws -> VCPUCreation {
        var parts: [VCPUCreation.Part] = []
        var mark: UInt64 = 0
        /// Notes what was done since the mark.
        func did(_ name: String) {
            let now = monotonicTime()
            parts.append(VCPUCreation.Part(name, .nanoseconds(Int64(now - mark))))
            mark = now
        }
        let vcpu = try vm.vm.createVCPU(id: id)
        if let cost = vcpu.creationCost {
            parts.append(VCPUCreation.Part("KVM_CREATE_VCPU", cost.create))
            parts.append(VCPUCreation.Part("mmap of kvm_run", cost.map))
        }
        let hasLocalAPIC = configuration.interruptController == .kernel
        mark = monotonicTime()
        try vcpu.setCPUID(VCPUSetup.cpuid(supportedCPUID, id: id, hasLocalAPIC: hasLocalAPIC))
        did("KVM_SET_CPUID2")
        var special = try vcpu.specialRegisters()
        // KVM shows CPUID's APIC bit as IA32_APIC_BASE has it, whatever CPUID was set to.
        if !hasLocalAPIC { special.apicBase &= ~(1 << 11) }
        let reset = special
        if let entry {
            let (general, started) = VCPUSetup.registers(entry, reset: special)
            special = started
            try vcpu.setSpecialRegisters(special)
            did("KVM_SET_SREGS")
            try vcpu.setRegisters(general)
            did("KVM_SET_REGS")
            if hasLocalAPIC, id != 0 {
                try vcpu.setMPState(.runnable)
                did("KVM_SET_MP_STATE")
            }
        } else if !hasLocalAPIC {
            try vcpu.setSpecialRegisters(special)
            did("KVM_SET_SREGS")
        }
        if hasLocalAPIC {
            // KVM finds the target of an interrupt by a map of APIC ids, and makes it before this vCPU counts; a
            // state set anew makes it again. Else an INIT to this id is lost until some APIC is enabled.
            try vcpu.setLocalAPIC(try vcpu.localAPIC())
            did("KVM_SET_LAPIC")
        }
        let mpState = try vcpu.mpState()
        let start = try VCPUStartState(
            of: vcpu, reset: reset, msrs: supportedMSRs, hasLocalAPIC: hasLocalAPIC)
        did("reading its state")
        let descriptor = vcpu.descriptor

        let thread = VCPUThread(id: id, immediateExit: vcpu.immediateExit)
        let shared = self.parts
        let recorder = exits.recorder(for: id)
        // The boot processor may run from the reset vector; an application processor is sent somewhere.
        let waits = entry == nil && id != 0 && !hasLocalAPIC
        mark = monotonicTime()
        let runner = VCPURunner(
            vcpu, thread: thread, parts: shared, recorder: recorder, waitsForEntry: waits)
        try thread.start { runner.serve($0) }
        did("thread")
        let member = Member(
            runner: runner, isBoot: id == 0, start: start, startsAtEntry: startsAtEntry && entry != nil)
        members.withLock { $0.append(member) }
        return VCPUCreation(
            identity: identity(member), descriptor: descriptor,
            descriptorName: Self.descriptorName(descriptor), hasLocalAPIC: hasLocalAPIC, mpState: mpState,
            entry: entry?.address, parts: parts)
    }

    /// What the kernel calls an open file of ours; nil if /proc does not say.
    private static func descriptorName(_ descriptor: Int32) -> String? {
        ProcessFiles.link("/proc/self/fd/\(descriptor)")
    }
}

extension OwnedMachine: ConsoleProviding {
    public var consoles: [ConsoleName] { [.debug, .serial] }

    private func buffer(_ console: ConsoleName) -> ConsoleBuffer? {
        switch console {
        case .debug: debugConsole
        case .serial: serialConsole
        default: nil
        }
    }

    public func consoleOutput(_ console: ConsoleName) -> ConsoleOutput? { buffer(console)?.output }

    /// The serial port alone takes input.
    public func consoleInput(_ console: ConsoleName, _ bytes: [UInt8]) -> Bool {
        guard console == .serial, serialPort.receive(bytes) else { return false }
        // It may be an interrupt that the guest waits for.
        if parts.chips != nil { kickBootProcessor() }
        return true
    }
}

extension OwnedMachine: ProcessorTimeProviding {
    public func processorTime(vcpu id: Int) -> ProcessorTime? {
        vcpus.first { $0.id == id }.flatMap {
            ThreadSample.processorTime(process: $0.process, thread: $0.thread)
        }.map { ProcessorTime(used: $0.used, isReady: $0.isReady) }
    }
}
