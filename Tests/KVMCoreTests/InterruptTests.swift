import KVMCore
import SystemPackage
import Testing
import X86

/// KVM_CAP_SYNC_REGS has KVM_SYNC_X86_EVENTS.
private let eventsComeWithTheExit = ((try? KVM.open().check(.syncRegs)) ?? 0) & 4 != 0

@Suite(.enabled(if: liveTestsRun, "needs /dev/kvm"))
struct InterruptTests {
    @Test func controllersAreMadeOnceAndTheirStateRoundTrips() throws {
        let vm = try KVM.open().createVM()
        try vm.createInterruptController()
        let error = #expect(throws: KVMError.self) { try vm.createInterruptController() }
        #expect(error?.errno == .fileExists)

        var pic = try vm.picState(.slave)
        pic.imr = 0xA5
        pic.vectorBase = 0x70
        try vm.setPICState(.slave, pic)
        #expect(try vm.picState(.slave) == pic)
        #expect(try vm.picState(.master).vectorBase != 0x70)

        var ioapic = try vm.ioapicState()
        #expect(ioapic.baseAddress == 0xFEC0_0000)
        #expect(ioapic.redirections.allSatisfy { $0.isMasked })
        ioapic.redirections[4] = .init(rawValue: 0x0000_0000_0001_0034)
        try vm.setIOAPICState(ioapic)
        #expect(try vm.ioapicState().redirections[4].vector == 0x34)
    }

    @Test func aLineRaisesARequestOfThePIC() throws {
        let vm = try KVM.open().createVM()
        try vm.createInterruptController()
        try vm.setIRQLine(3, true)
        #expect(try vm.picState(.master).irr & 1 << 3 != 0)
        try vm.setIRQLine(3, false)
    }

    @Test func theTimerNeedsTheControllers() throws {
        let bare = try KVM.open().createVM()
        let without = #expect(throws: KVMError.self) { try bare.createPIT() }
        #expect(without?.errno == .noSuchFileOrDirectory)
        #expect(without?.advice?.contains("KVM_CREATE_IRQCHIP") == true)

        let vm = try KVM.open().createVM()
        try vm.createInterruptController()
        let absent = #expect(throws: KVMError.self) { try vm.pitState() }
        #expect(absent?.errno == .noSuchAddressOrDevice)
        try vm.createPIT()
        let twice = #expect(throws: KVMError.self) { try vm.createPIT() }
        #expect(twice?.errno == .fileExists)

        var state = try vm.pitState()
        state.channels[2].count = 1193
        state.channels[2].mode = 3
        state.channels[2].accessMode = 3
        try vm.setPITState(state)
        let read = try vm.pitState()
        #expect(read.channels[2].count == 1193)
        #expect(read.channels[2].mode == 3)
    }

    @Test func withoutControllersTheirCallsSaySo() throws {
        let vm = try KVM.open().createVM()
        let calls: [(borrowing VirtualMachine) throws -> Void] = [
            { _ = try $0.picState(.master) }, { try $0.setPICState(.master, PICState()) },
            { _ = try $0.ioapicState() }, { try $0.setIOAPICState(IOAPICState()) },
            { try $0.setIRQLine(4, true) }, { _ = try $0.signalMSI(address: 0xFEE0_0000, data: 0x31) },
        ]
        for call in calls {
            let error = #expect(throws: KVMError.self) { try call(vm) }
            #expect(error?.advice?.contains("KVM_CREATE_IRQCHIP") == true)
        }
    }

    @Test func aMessageReachesALocalAPICThatIsOn() throws {
        let guest = try Guest([0xF4], irqchip: true)
        #expect(try !guest.vm.signalMSI(address: 0xFEE0_0000, data: 0x31))
        var apic = try guest.vcpu.localAPIC()
        apic[0xF0] |= 0x100  // SVR: the APIC is on. SDM volume 3A, 11.9.
        try guest.vcpu.setLocalAPIC(apic)
        #expect(try guest.vm.signalMSI(address: 0xFEE0_0000, data: 0x31))
        // IRR: vector 0x31 is bit 17 of the second word.
        #expect(try guest.vcpu.localAPIC()[0x210] == 1 << 17)
    }

    @Test func anInterruptIsTakenWhenTheWindowOpens() throws {
        let guest = try Guest([
            0xFB,  // sti
            0xB9, 0x00, 0x10,  // mov cx, 0x1000
            0xE2, 0xFE,  // loop $
            0xF4,  // hlt
        ])
        // IVT entry 0x40: 0000:3000, where HLT stands.
        try guest.memory.store(0x3000 as UInt32, at: 0x40 * 4)
        try guest.memory.write(0x3000, [0xF4])
        guest.vcpu.requestsInterruptWindow = true
        #expect(guest.vcpu.requestsInterruptWindow)
        #expect(try guest.vcpu.run() == .irqWindowOpen)
        #expect(guest.vcpu.isReadyForInterrupt)
        #expect(guest.vcpu.interruptFlag)
        guest.vcpu.requestsInterruptWindow = false
        try guest.vcpu.interrupt(vector: 0x40)
        #expect(try guest.vcpu.specialRegisters().interruptBitmap[0x40])
        #expect(try guest.vcpu.events().interruptInjected)
        #expect(try guest.vcpu.run() == .hlt)
        #expect(try guest.vcpu.registers().rip == 0x3001)
    }

    @Test(.enabled(if: eventsComeWithTheExit, "needs KVM_SYNC_X86_EVENTS"))
    func anInterruptGoesInWithTheNextRun() throws {
        let guest = try Guest([0xFB, 0xF4, 0xEB, 0xFD])  // sti; hlt; jmp hlt
        // IVT entries 0x40 and 0x41: 0000:3000 and 0000:3010, an OUT to port 0x80 and an IRET.
        try guest.memory.store(0x3000 as UInt32, at: 0x40 * 4)
        try guest.memory.store(0x3010 as UInt32, at: 0x41 * 4)
        try guest.memory.write(0x3000, [0xE6, 0x80, 0xCF])
        try guest.memory.write(0x3010, [0xE6, 0x80, 0xCF])
        let vcpu = guest.vcpu
        #expect(try vcpu.run() == .hlt)
        // Nothing is known of the events yet.
        #expect(!vcpu.interruptWithNextRun(vector: 0x40))
        vcpu.keepsEvents = true
        #expect(!vcpu.interruptWithNextRun(vector: 0x40))
        #expect(try vcpu.run() == .hlt)

        #expect(vcpu.interruptWithNextRun(vector: 0x40))
        // It is to be seen, and one is as many as can be on its way.
        #expect(try vcpu.events().interruptInjected)
        #expect(try vcpu.events().interruptVector == 0x40)
        #expect(!vcpu.interruptWithNextRun(vector: 0x41))
        // Registers that are set meanwhile do not take it away.
        var registers = try vcpu.registers()
        registers.rbx = 7
        try vcpu.setRegisters(registers)
        #expect(try vcpu.events().interruptInjected)
        guard case .io = try vcpu.run() else { throw Unexpected() }
        _ = try vcpu.completeIO()
        #expect(try vcpu.registers().rip == 0x3002)
        #expect(try vcpu.registers().rbx == 7)
        #expect(try !vcpu.events().interruptInjected)
        #expect(try vcpu.run() == .hlt)

        // Events that are set in its place do.
        #expect(vcpu.interruptWithNextRun(vector: 0x40))
        var events = try vcpu.events()
        events.interruptVector = 0x41
        try vcpu.setEvents(events)
        guard case .io = try vcpu.run() else { throw Unexpected() }
        _ = try vcpu.completeIO()
        #expect(try vcpu.registers().rip == 0x3012)
        #expect(try vcpu.run() == .hlt)

        // An NMI is first.
        try vcpu.nmi()
        #expect(!vcpu.interruptWithNextRun(vector: 0x40))
        vcpu.keepsEvents = false
        #expect(!vcpu.keepsEvents)
    }

    private struct Unexpected: Error {}

    @Test func withControllersInTheKernelKVM_INTERRUPTIsRefused() throws {
        let guest = try Guest([0xF4], irqchip: true)
        let error = #expect(throws: KVMError.self) { try guest.vcpu.interrupt(vector: 0x40) }
        #expect(error?.errno == .noSuchAddressOrDevice)
        #expect(error?.advice?.contains("KVM_IRQ_LINE") == true)
    }

    @Test func aNonMaskableInterruptIsTaken() throws {
        let guest = try Guest([0x90, 0xF4])  // nop; hlt
        try guest.memory.store(0x3000 as UInt32, at: 2 * 4)
        try guest.memory.write(0x3000, [0xF4])
        try guest.vcpu.nmi()
        #expect(try guest.vcpu.run() == .hlt)
        #expect(try guest.vcpu.registers().rip == 0x3001)
    }

    @Test func theClockIsSetAndRuns() throws {
        let vm = try KVM.open().createVM()
        try vm.setClock(ClockState(nanoseconds: 1_000_000_000_000))
        let first = try vm.clock().nanoseconds
        let second = try vm.clock().nanoseconds
        #expect(first >= 1_000_000_000_000)
        #expect(second >= first)
        let error = #expect(throws: KVMError.self) {
            try vm.setClock(ClockState(nanoseconds: 0, flags: 0x8000_0000))
        }
        #expect(error?.errno == .invalidArgument)
    }

    @Test func addressesForVMXAreTakenAndChecked() throws {
        let vm = try KVM.open().createVM()
        try vm.setTSSAddress(0xFFFB_D000)
        try vm.setIdentityMapAddress(0xFFFB_C000)
        let high = #expect(throws: KVMError.self) { try vm.setTSSAddress(0xFFFF_F000) }
        #expect(high?.errno == .invalidArgument)
        _ = try vm.createVCPU(id: 0)
        let late = #expect(throws: KVMError.self) { try vm.setIdentityMapAddress(0xFFFB_C000) }
        #expect(late?.errno == .invalidArgument)
        #expect(late?.advice?.contains("before the first") == true)
    }

    @Test func aCapabilityThatCannotBeEnabledIsNamed() throws {
        let vm = try KVM.open().createVM()
        let error = #expect(throws: KVMError.self) { try vm.enable(.userMemory) }
        #expect(error?.errno == .invalidArgument)
        #expect(error?.advice?.contains("KVM_CAP_USER_MEMORY") == true)
    }
}
