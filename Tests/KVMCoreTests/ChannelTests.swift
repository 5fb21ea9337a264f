import CKVM
import Glibc
import SystemPackage
import Testing
import X86

@testable import KVMCore

/// The typed calls over a channel that is not the kernel's: what is set is read back, and errors come through.
@Suite struct ChannelTests {
    private let channel = FakeChannel()

    private func vcpu(xsaveSize: Int = 0) throws -> VCPU {
        let file = ScratchFile(size: 12288)
        return try VCPU(
            id: 3, descriptor: 17, channel: channel, localDescriptor: file.descriptor, mappingSize: 12288,
            xsaveSize: xsaveSize)
    }

    private var vm: VirtualMachine {
        VirtualMachine(
            descriptor: 16, channel: channel,
            slots: [
                MemorySlot(slot: 0, gpa: 0, size: 100 * 4096, hostAddress: 0x7000_0000, flags: .logDirtyPages)
            ])
    }

    @Test func callsGoToTheDescriptorOfTheOtherProcess() throws {
        let vcpu = try vcpu()
        _ = try vcpu.registers()
        _ = try vm.clock()
        #expect(channel.calls.map(\.descriptor) == [17, 16])
        #expect(channel.calls.map(\.request) == [ckvm_get_regs, ckvm_get_clock])
        #expect(channel.calls.map(\.size) == [144, 48])
    }

    @Test func generalRegistersRoundTrip() throws {
        let vcpu = try vcpu()
        var registers = GeneralRegisters()
        let fields: [WritableKeyPath<GeneralRegisters, UInt64>] = [
            \.rax, \.rbx, \.rcx, \.rdx, \.rsi, \.rdi, \.rsp, \.rbp, \.r8, \.r9, \.r10, \.r11, \.r12, \.r13,
            \.r14,
            \.r15, \.rip,
        ]
        for (index, field) in fields.enumerated() { registers[keyPath: field] = 0x1111 &* UInt64(index + 1) }
        registers.rflags = RFlags(rawValue: 0x8000_0000_0000_0246)
        try vcpu.setRegisters(registers)
        #expect(try vcpu.registers() == registers)
    }

    @Test func specialRegistersRoundTripBitForBit() throws {
        let vcpu = try vcpu()
        var registers = SpecialRegisters()
        for (index, name) in SegmentName.allCases.enumerated() {
            // Each attribute alone is told apart: a different set of bits for each segment.
            registers[name] = Segment(
                base: 0x1_0000 &* UInt64(index), limit: UInt32(index) &* 0x1111, selector: UInt16(index * 8),
                attributes: SegmentAttributes(
                    rawValue: [0xF, 0x10, 0x60, 0x80, 0x1000, 0x2000, 0xC000, 0x10000][index]))
        }
        registers.gdt = DescriptorTable(base: 0xFFFF_8000_0000_1000, limit: 0x7F)
        registers.idt = DescriptorTable(base: 0xFFFF_8000_0000_2000, limit: 0xFFF)
        registers.cr0 = [.pe, .pg, .et]
        registers.cr2 = 2
        registers.cr3 = 3
        registers.cr4 = [.pae, .osfxsr]
        registers.cr8 = 8
        registers.efer = [.lme, .lma, .nxe]
        registers.apicBase = 0xFEE0_0900
        registers.interruptBitmap[0x81] = true
        try vcpu.setSpecialRegisters(registers)
        #expect(try vcpu.specialRegisters() == registers)
        // KVM_RUN takes CR8 from the page.
        #expect(vcpu.page.bytes.field(RunLayout.cr8, as: UInt64.self) == 8)
    }

    @Test func otherStateRoundTrips() throws {
        let vcpu = try vcpu(xsaveSize: 8192)

        var debug = DebugRegisters()
        (debug.dr0, debug.dr1, debug.dr2, debug.dr3, debug.dr6, debug.dr7) = (1, 2, 3, 4, 5, 6)
        try vcpu.setDebugRegisters(debug)
        #expect(try vcpu.debugRegisters() == debug)

        var fpu = FPURegisters()
        for index in 0..<8 { fpu.st[index] = SIMD16(repeating: UInt8(index + 1)) }
        for index in 0..<16 { fpu.xmm[index] = SIMD16(repeating: UInt8(index + 100)) }
        (fpu.controlWord, fpu.statusWord, fpu.tagWord, fpu.lastOpcode) = (0x27F, 0x3800, 0xFF, 0x123)
        (fpu.lastInstruction, fpu.lastOperand, fpu.mxcsr) = (0x1234, 0x5678, 0x1FA0)
        try vcpu.setFPU(fpu)
        #expect(try vcpu.fpu() == fpu)

        let area = XSAVEArea(bytes: (0..<8192).map { UInt8(truncatingIfNeeded: $0) })
        try vcpu.setXSAVE(area)
        #expect(try vcpu.xsave() == area)
        #expect(channel.calls.contains { $0.request == ckvm_get_xsave2 && $0.size == 8192 })

        let xcrs = [XCR(index: 0, value: 7), XCR(index: 1, value: 0x1_0000_0000)]
        try vcpu.setXCRs(xcrs)
        #expect(try vcpu.xcrs() == xcrs)

        for state in [MPState.runnable, .uninitialized, .initReceived, .halted, .sipiReceived, .other(10)] {
            try vcpu.setMPState(state)
            #expect(try vcpu.mpState() == state)
        }

        var apic = try #require(LocalAPICState(bytes: [UInt8](repeating: 0, count: LocalAPICState.size)))
        apic[0x20] = 0x0300_0000
        apic[0x3F0] = 0xDEAD_BEEF
        try vcpu.setLocalAPIC(apic)
        #expect(try vcpu.localAPIC() == apic)

        let entries = (0..<200).map { index in
            let leaf = UInt32(index)
            return CPUIDEntry(
                function: leaf, index: 1, flags: leaf & 1, eax: leaf + 2, ebx: leaf + 3, ecx: leaf + 4,
                edx: leaf + 5)
        }
        try vcpu.setCPUID(entries)
        channel.answer(ckvm_get_cpuid2, with: [-Errno.argListTooLong.rawValue])
        #expect(try vcpu.cpuid() == entries)
        #expect(
            channel.calls.filter { $0.request == ckvm_get_cpuid2 }.map(\.size) == [
                8 + 128 * 40, 8 + 256 * 40,
            ])
    }

    /// Before Linux 6.5 the count comes back as it was asked for.
    @Test(arguments: [0, 1, 56, 127, 128])
    func cpuidIsAsLongAsItIsThoughTheKernelDoesNotSay(count: Int) throws {
        let vcpu = try vcpu()
        // The last entry looks like what the buffer is filled with: it is an entry all the same.
        let strange: UInt32 = 0xA5A5_A5A5
        let entries = (0..<count).map { index in
            index == count - 1
                ? CPUIDEntry(
                    function: strange, index: strange, flags: strange, eax: strange, ebx: strange,
                    ecx: strange,
                    edx: strange)
                : CPUIDEntry(function: UInt32(index), eax: 1)
        }
        var bytes = ByteCoding.encode(cpuid: entries, capacity: count)
        if count > 0 { for index in bytes.count - 12..<bytes.count { bytes[index] = 0xA5 } }
        channel.kernelLeavesCPUIDCount(entries: Array(bytes.dropFirst(8)))
        #expect(try vcpu.cpuid() == entries)
        #expect(channel.calls.count <= 3)
    }

    @Test func eventsRoundTripFieldByField() throws {
        let vcpu = try vcpu()
        let flags: [WritableKeyPath<VCPUEvents, Bool>] = [
            \.exceptionInjected, \.exceptionPending, \.exceptionHasErrorCode, \.exceptionHasPayload,
            \.interruptInjected, \.interruptIsSoft, \.nmiInjected, \.nmiMasked, \.inSystemManagementMode,
            \.smiPending, \.smmInsideNMI, \.latchedINIT, \.tripleFaultPending,
        ]
        for flag in flags {
            var events = VCPUEvents()
            events[keyPath: flag] = true
            try vcpu.setEvents(events)
            #expect(try vcpu.events() == events)
        }
        var events = VCPUEvents()
        (events.exceptionVector, events.exceptionErrorCode, events.exceptionPayload) = (
            14, 2, 0xFFFF_0000_1234
        )
        (events.interruptVector, events.interruptShadow, events.nmiPending) = (0x30, 2, 1)
        (events.sipiVector, events.flags) = (0x9A, 0x1F)
        try vcpu.setEvents(events)
        #expect(try vcpu.events() == events)
    }

    @Test func chipsRoundTrip() throws {
        var pic = PICState()
        let fields: [WritableKeyPath<PICState, UInt8>] = [
            \.lastIRR, \.irr, \.imr, \.isr, \.priorityAdd, \.vectorBase, \.readRegisterSelect, \.poll,
            \.specialMask, \.initState, \.autoEOI, \.rotateOnAutoEOI, \.specialFullyNestedMode, \.init4,
            \.elcr,
            \.elcrMask,
        ]
        for (index, field) in fields.enumerated() { pic[keyPath: field] = UInt8(index + 1) }
        try vm.setPICState(.slave, pic)
        #expect(try vm.picState(.slave) == pic)

        var ioapic = IOAPICState()
        (ioapic.baseAddress, ioapic.registerSelect, ioapic.id, ioapic.irr) = (0xFEC0_0000, 0x10, 1, 0xFF_FFFF)
        for pin in 0..<IOAPICState.pinCount {
            ioapic.redirections[pin] = .init(rawValue: 0x0300_0000_0001_A930 + UInt64(pin))
        }
        try vm.setIOAPICState(ioapic)
        #expect(try vm.ioapicState() == ioapic)
        let entry = ioapic.redirections[1]
        #expect(entry.vector == 0x31 && entry.deliveryMode == 1 && entry.isLogical && entry.isActiveLow)
        #expect(entry.isLevelTriggered && entry.isMasked && !entry.remoteIRR && !entry.isPending)
        #expect(entry.destination == 3)

        var pit = PITState()
        pit.flags = .speakerData
        for index in 0..<3 {
            pit.channels[index].count = UInt32(65536 - index)
            pit.channels[index].mode = UInt8(index + 1)
            pit.channels[index].isBCD = index == 1
            pit.channels[index].loadTime = -Int64(index)
        }
        try vm.setPITState(pit)
        #expect(try vm.pitState() == pit)

        let clock = ClockState(nanoseconds: 1, flags: 4, realTime: 2, hostTSC: 3)
        try vm.setClock(clock)
        #expect(try vm.clock() == clock)
    }

    @Test func msrsGoInChunksAndFailuresNameTheirNumber() throws {
        let vcpu = try vcpu()
        channel.answer(ckvm_set_msrs, with: [256, 44])
        try vcpu.setMSRs((0..<300).map { MSRValue(index: $0, value: UInt64($0) << 32) })
        #expect(channel.calls.map(\.size) == [8 + 256 * 16, 8 + 44 * 16])

        channel.answer(ckvm_get_msrs, with: [1])
        let error = #expect(throws: KVMError.self) { try vcpu.msrs([0x10, 0x4B56_4D99, 0x11]) }
        #expect(error?.operation == "KVM_GET_MSRS")
        #expect(error?.advice == "the vCPU has no MSR 0x4b564d99")

        channel.answer(ckvm_set_msrs, with: [0])
        let refused = #expect(throws: KVMError.self) { try vcpu.setMSR(0xC000_0080, 0xFFFF) }
        #expect(refused?.advice?.contains("0xc0000080 does not exist or does not take 0xffff") == true)

        channel.answer(ckvm_get_msrs, with: [1])
        channel.put(ckvm_get_msrs, ByteCoding.encode(msrs: [MSRValue(index: 0x10, value: 0x1234_5678_9ABC)]))
        #expect(try vcpu.msr(0x10) == 0x1234_5678_9ABC)
    }

    @Test func aDirtyLogIsReadThroughItsPointer() throws {
        channel.put(ckvm_get_dirty_log, [1, 0, 0, 0, 0, 0, 0, 0x80, 1, 0, 0, 0, 0xFF])
        let log = try vm.dirtyLog(slot: 0)
        #expect(log.pageCount == 100)
        // The bits beyond page 99 are not pages.
        #expect(log.pages == [0, 63, 64, 96, 97, 98, 99])
        #expect(throws: KVMError.self) { try vm.dirtyLog(slot: 1) }
    }

    @Test func valuesAreReturned() throws {
        let vcpu = try vcpu()
        channel.answer(ckvm_get_tsc_khz, with: [2_400_000])
        #expect(try vcpu.tscKHz() == 2_400_000)
        try vcpu.setTSCKHz(1_000_000)
        #expect(channel.calls.last?.value == 1_000_000)
        channel.answer(ckvm_signal_msi, with: [1, 0])
        #expect(try vm.signalMSI(address: 0xFEE0_0000, data: 0x30))
        #expect(try !vm.signalMSI(address: 0xFEE0_0000, data: 0x30))
    }

    // MARK: Errors

    @Test func anErrorNamesTheCallAndAdvises() throws {
        channel.answer(ckvm_set_sregs, with: [-Errno.invalidArgument.rawValue])
        let error = #expect(throws: KVMError.self) { try vcpu().setSpecialRegisters(SpecialRegisters()) }
        #expect(error?.operation == "KVM_SET_SREGS")
        #expect(error?.errno == .invalidArgument)
        #expect(error?.advice?.contains("nothing was changed") == true)

        channel.answer(ckvm_get_regs, with: [-Errno.ioError.rawValue])
        let general = #expect(throws: KVMError.self) { try vcpu().registers() }
        #expect(general?.advice?.contains("another process") == true)
    }

    @Test func interruptedCallsAreMadeAgainButNotKVM_RUN() throws {
        let interrupted = -Errno.interrupted.rawValue
        channel.answer(ckvm_get_regs, with: [interrupted, interrupted])
        let vcpu = try vcpu()
        _ = try vcpu.registers()
        #expect(channel.calls.count == 3)
        channel.answer(ckvm_run, with: [interrupted, 0])
        #expect(try vcpu.run() == .interrupted)
        #expect(channel.calls.filter { $0.request == ckvm_run }.count == 1)
    }

    @Test func aWokenVCPUSaysRunAgain() throws {
        channel.answer(ckvm_run, with: [-Errno.resourceTemporarilyUnavailable.rawValue])
        let error = #expect(throws: KVMError.self) { try vcpu().run() }
        #expect(error?.operation == "KVM_RUN")
        #expect(error?.errno == .resourceTemporarilyUnavailable)
        #expect(error?.advice?.contains("run it again") == true)
    }

    @Test func anXSAVEAreaOfAnotherSizeNeverReachesTheKernel() throws {
        let error = #expect(throws: KVMError.self) {
            try vcpu(xsaveSize: 8192).setXSAVE(XSAVEArea(bytes: [UInt8](repeating: 0, count: 4096)))
        }
        #expect(error?.errno == .invalidArgument)
        #expect(channel.calls.isEmpty)
    }

    @Test func aMappingThatIsTooShortIsRefused() throws {
        let file = ScratchFile(size: 12288)
        #expect(throws: KVMError.self) {
            try VCPU(
                id: 0, descriptor: 1, channel: channel, localDescriptor: file.descriptor, mappingSize: 2351)
        }
    }

    @Test func vCPUsOfAnotherProcessAreNotMadeFromHere() {
        let error = #expect(throws: KVMError.self) { _ = try vm.createVCPU(id: 0) }
        #expect(error?.errno == .notSupported)
        #expect(channel.calls.isEmpty)
    }

    // MARK: Registers in the page

    @Test func anObservedExitBringsItsRegisters() throws {
        let vcpu = try vcpu()
        var regs = kvm_regs()
        regs.rip = 0x7C05
        let page = vcpu.page.bytes
        page.storeBytes(of: regs, toByteOffset: RunLayout.registers, as: kvm_regs.self)
        page.storeBytes(of: UInt32(KVM_EXIT_HLT), toByteOffset: RunLayout.exitReason, as: UInt32.self)

        // The owner has not asked for registers: they are fetched.
        #expect(vcpu.observeExit() == .hlt)
        #expect(try vcpu.registers().rip == 0)
        #expect(channel.calls.count == 1)

        page.storeBytes(of: 1, toByteOffset: RunLayout.validRegisters, as: UInt64.self)
        _ = vcpu.observeExit()
        #expect(try vcpu.registers().rip == 0x7C05)
        #expect(channel.calls.count == 1)
        _ = try vcpu.specialRegisters()
        #expect(channel.calls.last?.request == ckvm_get_sregs)

        // After a set, what was set counts, not the page.
        try vcpu.setRegisters(GeneralRegisters())
        #expect(try vcpu.registers() == GeneralRegisters())
    }

    @Test(arguments: [false, true])
    func systemEventsHaveOneWordWhereTheKernelDoesNotCount(counts: Bool) throws {
        let file = ScratchFile(size: 12288)
        let page = RunPage(try Mapping(descriptor: file.descriptor, size: 12288))
        let vcpu = try VCPU(
            id: 0, handle: Handle(borrowing: 17, channel: .remote(channel)), page: page, state: VMState(),
            supportedSync: 0, xsaveSize: 0, countsEventData: counts, cost: nil)
        // KVM_SYSTEM_EVENT_CRASH, where an exit before has left a port and a count.
        page.bytes.storeBytes(
            of: UInt32(KVM_EXIT_SYSTEM_EVENT), toByteOffset: RunLayout.exitReason, as: UInt32.self)
        page.bytes.storeBytes(of: 3, toByteOffset: RunLayout.payload, as: UInt32.self)
        page.bytes.storeBytes(of: 2, toByteOffset: RunLayout.payload + 4, as: UInt32.self)
        page.bytes.storeBytes(of: 0x11, toByteOffset: RunLayout.payload + 8, as: UInt64.self)
        page.bytes.storeBytes(of: 0x22, toByteOffset: RunLayout.payload + 16, as: UInt64.self)
        #expect(try vcpu.run() == .systemEvent(type: 3, data: counts ? [0x11, 0x22] : [0x11]))
    }

    /// Only a kernel without XSAVE makes way for KVM_GET_FPU, which leaves out MXCSR.
    @Test func anXSAVEThatFailsIsNotPassedOver() throws {
        let vcpu = try vcpu()
        channel.answer(ckvm_get_xsave, with: [-Errno.ioError.rawValue])
        let error = #expect(throws: KVMError.self) { try vcpu.fpu() }
        #expect(error?.operation == "KVM_GET_XSAVE")
        #expect(!channel.calls.contains { $0.request == ckvm_get_fpu })
        channel.answer(ckvm_get_xsave, with: [-Errno.inappropriateIOCTLForDevice.rawValue])
        _ = try vcpu.fpu()
        #expect(channel.calls.last?.request == ckvm_get_fpu)
    }

    @Test func changesAreRefusedWhileIOIsPending() throws {
        let vcpu = try vcpu()
        let page = vcpu.page.bytes
        page.storeBytes(of: UInt32(KVM_EXIT_MMIO), toByteOffset: RunLayout.exitReason, as: UInt32.self)
        page.storeBytes(of: 4, toByteOffset: RunLayout.payload + 16, as: UInt32.self)
        _ = vcpu.observeExit()
        #expect(vcpu.isIOPending)
        let changes: [(VCPU) throws -> Void] = [
            { try $0.setRegisters(GeneralRegisters()) }, { try $0.setSpecialRegisters(SpecialRegisters()) },
            { try $0.setEvents(VCPUEvents()) },
        ]
        for change in changes {
            let error = #expect(throws: KVMError.self) { try change(vcpu) }
            #expect(error?.errno == .resourceBusy)
        }
        #expect(channel.calls.isEmpty)
    }
}
