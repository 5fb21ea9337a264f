import Glibc
import SystemPackage
import Testing
import X86

@testable import KVMCore

/// How a guest comes to a stop: by debug exits, by faults, and by a kick from another thread.
@Suite(.enabled(if: liveTestsRun, "needs /dev/kvm"))
struct StopTests {
    @Test func singleStepStopsAfterEachInstruction() throws {
        let guest = try Guest([
            0x40,  // inc ax
            0x43,  // inc bx
            0x90,  // nop
            0xF4,  // hlt
        ])
        try guest.vcpu.setGuestDebug(GuestDebug(control: [.enable, .singleStep]))
        for step in 1...3 as ClosedRange<UInt64> {
            let debug = try #require(try guest.vcpu.run().debugExit)
            #expect(debug.isSingleStep)
            #expect(debug.exception == 1)
            #expect(debug.pc == Guest.start + step)
            #expect(try guest.vcpu.registers().rip == Guest.start + step)
            #expect(try !guest.vcpu.registers().rflags.contains(.tf))
        }
        #expect(try guest.vcpu.registers().rax == 1)
        #expect(try guest.vcpu.registers().rbx == 1)
        try guest.vcpu.setGuestDebug(.off)
        #expect(try guest.vcpu.run() == .hlt)
    }

    @Test(.enabled(if: HostTrial.executionBreakpointsFire, "needs a host whose DR0 to DR3 fire in a guest"))
    func aBreakpointStopsBeforeItsInstruction() throws {
        let guest = try Guest([0x40, 0x40, 0x43, 0xF4])  // inc ax; inc ax; inc bx; hlt
        let target = Guest.start + 2
        // DR7: L1, length 0 and type 0 for execution. SDM volume 3B, 17.2.4.
        try guest.vcpu.setGuestDebug(
            GuestDebug(
                control: [.enable, .hardwareBreakpoints], addresses: SIMD4(0, target, 0, 0),
                dr7: 0x400 | 1 << 2))
        let debug = try #require(try guest.vcpu.run().debugExit)
        #expect(debug.pc == target)
        #expect(debug.matched == 0b10)
        #expect(try guest.vcpu.registers().rax == 2)
        #expect(try guest.vcpu.registers().rbx == 0)
        #expect(try guest.vcpu.debugRegisters().dr1 == 0, "the guest's own debug registers are left alone")
    }

    @Test func debugControlsThatThisKVMHasNotAreRefused() throws {
        let guest = try Guest([0xF4])
        let error = #expect(throws: KVMError.self) {
            try guest.vcpu.setGuestDebug(GuestDebug(control: [.enable, .init(rawValue: 1 << 30)]))
        }
        #expect(error?.operation == "KVM_SET_GUEST_DEBUG")
        #expect(error?.errno == .invalidArgument)
        #expect(error?.advice?.contains("0x40000000") == true)
    }

    @Test func controlsBeforeTheCapabilityAreAllButOne() {
        let old = GuestDebug.Control(capability: 0)
        #expect(old.contains([.enable, .singleStep, .softwareBreakpoints, .hardwareBreakpoints]))
        #expect(!old.contains(.blockInterrupts))
        #expect(GuestDebug.Control(capability: 1 << 20) == .blockInterrupts)
    }

    @Test func aStepOverAnInEndsWhenItIsCompleted() throws {
        let guest = try Guest([0xE4, 0x60, 0x40, 0xF4])  // in al, 0x60; inc ax; hlt
        try guest.vcpu.setGuestDebug(GuestDebug(control: [.enable, .singleStep]))
        #expect(try guest.vcpu.run().portIO?.direction == .in)
        try guest.vcpu.answer(io: 0x77)
        let end = try guest.vcpu.completeIO()
        #expect(end.debugExit != nil || end == .interrupted)
        #expect(try guest.vcpu.registers().rip == Guest.start + 2)
        #expect(try guest.vcpu.registers().rax == 0x77)
    }

    @Test func aTripleFaultIsAShutdown() throws {
        let guest = try Guest([0x0F, 0x0B])  // ud2
        // Flat 32-bit protected mode with an IDT that holds no gate.
        var special = try guest.vcpu.specialRegisters()
        special.cr0.insert(.pe)
        special.cs = Segment(
            limit: 0xFFFF_FFFF, selector: 8, attributes: SegmentAttributes(rawValue: 0xC09B))
        special.ss = Segment(
            limit: 0xFFFF_FFFF, selector: 16, attributes: SegmentAttributes(rawValue: 0xC093))
        special.idt = DescriptorTable(base: 0, limit: 0)
        try guest.vcpu.setSpecialRegisters(special)
        #expect(try guest.vcpu.run() == .shutdown)
    }

    @Test func fetchingFromWhereNoMemoryIsEndsInAStopWithFacts() throws {
        let guest = try Guest([0xEA, 0x00, 0x00, 0x00, 0x80])  // jmp 0x8000:0
        let exit = try guest.vcpu.run()
        guard case .internalError(let error) = exit else {
            return #expect(Bool(false), "KVM cannot emulate a fetch from MMIO: \(exit)")
        }
        #expect(error.suberror == 1)
        #expect(try guest.vcpu.specialRegisters().cs.base == 0x80000)
    }

    // MARK: Registers that come with the exit

    @Test func thePageAndTheCallsAgree() throws {
        let guest = try Guest([
            0xB8, 0x34, 0x12,  // mov ax, 0x1234
            0x8E, 0xC0,  // mov es, ax
            0xF9,  // stc
            0xF4,  // hlt
        ])
        #expect(try guest.vcpu.run() == .hlt)
        let fromPage = (
            try guest.vcpu.registers(), try guest.vcpu.specialRegisters(), try guest.vcpu.events()
        )
        #expect(fromPage.0.rax == 0x1234 && fromPage.0.rflags.contains(.cf))
        #expect(fromPage.1.es == .real(0x1234))
        guest.vcpu.forgetRegisters()
        #expect(try guest.vcpu.registers() == fromPage.0)
        #expect(try guest.vcpu.specialRegisters() == fromPage.1)
        #expect(try guest.vcpu.events() == fromPage.2)
    }

    @Test func readsAfterASetSeeWhatWasSet() throws {
        let guest = try Guest([0xF4, 0xF4])
        #expect(try guest.vcpu.run() == .hlt)
        var registers = try guest.vcpu.registers()
        registers.rcx = 0x55
        try guest.vcpu.setRegisters(registers)
        #expect(try guest.vcpu.registers().rcx == 0x55)
        var special = try guest.vcpu.specialRegisters()
        special.ds = .real(0x2222)
        try guest.vcpu.setSpecialRegisters(special)
        #expect(try guest.vcpu.specialRegisters().ds.base == 0x22220)
        #expect(try guest.vcpu.run() == .hlt)
        #expect(try guest.vcpu.registers().rcx == 0x55)
        #expect(try guest.vcpu.specialRegisters().ds.base == 0x22220)
    }

    @Test func withoutSyncRegsTheCallsServe() throws {
        let vm = try KVM.open().createVM()
        let memory = try GuestMemory(size: 0x10000)
        try memory.write(0x1000, [0x40, 0xF4])  // inc ax; hlt
        try vm.setMemoryRegion(slot: 0, gpa: 0, memory: memory)
        let made = try vm.createVCPU(id: 0)
        // The same vCPU, as on a kernel that has no KVM_CAP_SYNC_REGS.
        let vcpu = try VCPU(
            id: 0, handle: Handle(borrowing: made.descriptor, channel: .direct), page: made.page,
            state: made.state, supportedSync: 0, xsaveSize: 0, cost: nil)
        try vcpu.enterRealMode(at: 0x1000)
        #expect(try vcpu.run() == .hlt)
        #expect(try vcpu.registers().rax == 1)
        #expect(try vcpu.registers().rip == 0x1002)
        #expect(try vcpu.specialRegisters().cs.selector == 0)
        _ = try vcpu.events()
        #expect(try vcpu.xsave().bytes.count == 4096)
    }

    @Test func settingRegistersWhileIOIsPendingIsRefused() throws {
        let guest = try Guest([0xE4, 0x60, 0xF4])  // in al, 0x60; hlt
        #expect(try guest.vcpu.run().portIO != nil)
        let registers = try guest.vcpu.registers()
        let error = #expect(throws: KVMError.self) { try guest.vcpu.setRegisters(registers) }
        #expect(error?.errno == .resourceBusy)
        try guest.vcpu.answer(io: 1)
        _ = try guest.vcpu.completeIO()
        try guest.vcpu.setRegisters(try guest.vcpu.registers())
    }

    // MARK: Kicks

    @Test func aRequestKeepsTheGuestFromRunning() throws {
        let guest = try Guest([0x40, 0xF4])  // inc ax; hlt
        let exit = guest.vcpu.immediateExit
        exit.request()
        for _ in 0..<3 { #expect(try guest.vcpu.run() == .interrupted) }
        #expect(try guest.vcpu.registers().rax == 0)
        exit.clear()
        #expect(try guest.vcpu.run() == .hlt)
    }

    @Test func aSpinningGuestIsKickedFromAnotherThread() throws {
        // A handler that does nothing, and without SA_RESTART: the signal only ends KVM_RUN.
        let kick = SIGUSR2
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { _ in }
        sigaction(kick, &action, nil)
        // The threads that tests run on block all signals.
        var mask = sigset_t()
        var previous = sigset_t()
        sigemptyset(&mask)
        sigaddset(&mask, kick)
        pthread_sigmask(SIG_UNBLOCK, &mask, &previous)
        defer { pthread_sigmask(SIG_SETMASK, &previous, nil) }

        let guest = try Guest([0xEB, 0xFE])  // jmp $
        let exit = guest.vcpu.immediateExit
        let thread = pthread_self()
        for _ in 0..<200 {
            let kicker = OtherThread.start {
                exit.request()
                pthread_kill(thread, kick)
            }
            #expect(try guest.vcpu.run() == .interrupted)
            pthread_join(kicker, nil)
            exit.clear()
        }
        #expect(try guest.vcpu.registers().rip == Guest.start)
    }

    @Test func aHandleOutlivesItsVCPU() throws {
        func handle() throws -> ImmediateExit { try Guest([0xF4]).vcpu.immediateExit }
        let exit = try handle()
        exit.request()
        #expect(exit.isRequested)
    }

    @Test func modelSpecificRegistersExitWhenAskedFor() throws {
        let guest = try Guest([
            0x66, 0xB9, 0x00, 0x00, 0x34, 0x12,  // mov ecx, 0x12340000
            0x0F, 0x32,  // rdmsr
            0x66, 0x89, 0xC3,  // mov ebx, eax
            0x0F, 0x30,  // wrmsr
            0xF4,  // hlt
        ])
        // KVM_MSR_EXIT_REASON_UNKNOWN.
        try guest.vm.enable(.x86UserSpaceMSR, arguments: SIMD4(2, 0, 0, 0))
        #expect(try guest.vcpu.run() == .readMSR(MSRAccess(index: 0x1234_0000, data: 0, why: 2)))
        try guest.vcpu.answer(msr: 0x0000_0001_CAFE_F00D)
        #expect(try guest.vcpu.run() == .writeMSR(MSRAccess(index: 0x1234_0000, data: 0x1_CAFE_F00D, why: 2)))
        try guest.vcpu.acceptMSR()
        #expect(try guest.vcpu.run() == .hlt)
        #expect(try guest.vcpu.registers().rbx == 0xCAFE_F00D)
    }

    @Test func aRefusedMSRFaultsInTheGuest() throws {
        let guest = try Guest([0x66, 0xB9, 0x00, 0x00, 0x34, 0x12, 0x0F, 0x32, 0x90])  // mov ecx; rdmsr; nop
        // IVT entry 13, #GP.
        try guest.memory.store(0x3000 as UInt32, at: 13 * 4)
        try guest.memory.write(0x3000, [0xF4])
        try guest.vm.enable(.x86UserSpaceMSR, arguments: SIMD4(2, 0, 0, 0))
        guard case .readMSR = try guest.vcpu.run() else { return #expect(Bool(false)) }
        try guest.vcpu.refuseMSR()
        #expect(try guest.vcpu.run() == .hlt)
        #expect(try guest.vcpu.registers().rip == 0x3001)
    }
}
