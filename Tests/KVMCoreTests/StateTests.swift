import KVMCore
import SystemPackage
import Testing
import X86

/// Every pair of GET and SET of a vCPU, against the kernel: what was set is read back, and a failure each.
@Suite(.enabled(if: liveTestsRun, "needs /dev/kvm"))
struct StateTests {
    @Test func generalRegisters() throws {
        let guest = try Guest([0xF4])
        var registers = GeneralRegisters()
        let fields: [WritableKeyPath<GeneralRegisters, UInt64>] = [
            \.rax, \.rbx, \.rcx, \.rdx, \.rsi, \.rdi, \.rsp, \.rbp, \.r8, \.r9, \.r10, \.r11, \.r12, \.r13,
            \.r14,
            \.r15, \.rip,
        ]
        for (index, field) in fields.enumerated() {
            registers[keyPath: field] = 0x0101_0101_0101 * UInt64(index + 1)
        }
        registers.rflags = [.reserved1, .cf, .zf, .if, .df]
        try guest.vcpu.setRegisters(registers)
        #expect(try guest.vcpu.registers() == registers)
    }

    @Test func specialRegisters() throws {
        let guest = try Guest([0xF4])
        var special = try guest.vcpu.specialRegisters()
        special.gs = Segment(
            base: 0x12340, limit: 0xFFFF_FFFF, selector: 0x1234,
            attributes: SegmentAttributes(rawValue: 0xC093))
        special.gdt = DescriptorTable(base: 0x800, limit: 0x27)
        special.idt = DescriptorTable(base: 0x100, limit: 0x3FF)
        special.cr2 = 0xFFFF_1000
        special.cr3 = 0x9000
        special.cr4 = [.pae]
        special.cr8 = 5
        try guest.vcpu.setSpecialRegisters(special)
        #expect(try guest.vcpu.specialRegisters() == special)
    }

    @Test(
        "control registers that contradict each other are refused, and nothing changes",
        arguments: [
            { $0.cr0 = [.pg, .et] },  // paging in real mode
            {
                $0.cr0 = [.pe, .pg, .et]
                $0.efer = [.lme, .lma]
            },  // long mode without PAE
            { $0.cr4 = CR4(rawValue: 1 << 31) },  // a reserved bit
            { $0.cr0 = CR0(rawValue: 1 << 40) },
        ] as [@Sendable (inout SpecialRegisters) -> Void])
    func contradictions(_ change: @Sendable (inout SpecialRegisters) -> Void) throws {
        let guest = try Guest([0xF4])
        let before = try guest.vcpu.specialRegisters()
        var special = before
        special.cr2 = 0xBAD
        change(&special)
        let error = #expect(throws: KVMError.self) { try guest.vcpu.setSpecialRegisters(special) }
        #expect(error?.operation == "KVM_SET_SREGS")
        #expect(error?.errno == .invalidArgument)
        #expect(error?.advice?.contains("nothing was changed") == true)
        #expect(try guest.vcpu.specialRegisters() == before)
        #expect(try guest.vcpu.run() == .hlt)
    }

    @Test func theTaskPriorityIsNotLostInKVM_RUN() throws {
        let guest = try Guest([0xF4])
        var special = try guest.vcpu.specialRegisters()
        special.cr8 = 9
        try guest.vcpu.setSpecialRegisters(special)
        #expect(try guest.vcpu.run() == .hlt)
        #expect(try guest.vcpu.specialRegisters().cr8 == 9)
    }

    @Test func floatingPoint() throws {
        let guest = try Guest([0xF4])
        var fpu = FPURegisters()
        for index in 0..<8 {
            // 80 bits each: bytes 10 to 15 of a slot are not part of the register.
            for byte in 0..<10 { fpu.st[index][byte] = UInt8(index * 16 + byte) }
        }
        for index in 0..<16 { fpu.xmm[index] = SIMD16(repeating: UInt8(index + 1)) }
        (fpu.controlWord, fpu.statusWord, fpu.tagWord, fpu.lastOpcode) = (0x27F, 0x3800, 0xFF, 0x123)
        (fpu.lastInstruction, fpu.lastOperand, fpu.mxcsr) = (0x1234, 0x5678, 0x1FA0)
        try guest.vcpu.setFPU(fpu)
        #expect(try guest.vcpu.fpu() == fpu)
        // The guest has it: XSTATE_BV says that x87 and SSE are in use.
        #expect(try guest.vcpu.xsave().bytes[512] & 3 == 3)
        var refused = fpu
        refused.mxcsr = 0xFFFF_FFFF
        #expect(throws: KVMError.self) { try guest.vcpu.setFPU(refused) }
        #expect(try guest.vcpu.fpu() == fpu)
        fpu.xmm.removeLast()
        let error = #expect(throws: KVMError.self) { try guest.vcpu.setFPU(fpu) }
        #expect(error?.advice?.contains("15") == true)
    }

    @Test func theRegistersAtResetAreTheManuals() throws {
        let fpu = try Guest([0xF4]).vcpu.fpu()
        #expect(fpu.mxcsr == 0x1F80)
        #expect(fpu.xmm == FPURegisters().xmm)
    }

    @Test(.enabled(if: HostTrial.executesSSE, "needs a host that executes MOVUPS in real mode"))
    func theGuestSeesTheRegistersThatWereSet() throws {
        // movups [0x2000], xmm1; stmxcsr [0x2010]; hlt
        let guest = try Guest([
            0x0F, 0x11, 0x0E, 0x00, 0x20, 0x0F, 0xAE, 0x1E, 0x10, 0x20, 0xF4,
        ])
        var special = try guest.vcpu.specialRegisters()
        special.cr4.insert(.osfxsr)
        try guest.vcpu.setSpecialRegisters(special)
        var fpu = try guest.vcpu.fpu()
        for byte in 0..<16 { fpu.xmm[1][byte] = UInt8(0xA0 + byte) }
        fpu.mxcsr = 0x1F00
        try guest.vcpu.setFPU(fpu)
        #expect(try guest.vcpu.run() == .hlt)
        #expect(try guest.memory.read(0x2000, count: 16) == Array(0xA0...0xAF))
        #expect(try guest.memory.load(0x2010, as: UInt32.self) == 0x1F00)
    }

    @Test func extendedState() throws {
        let guest = try Guest([0xF4])
        var area = try guest.vcpu.xsave()
        #expect(area.bytes.count >= 4096)
        // XMM1 in the legacy area, and its bit in XSTATE_BV. SDM volume 1, 13.4.
        for index in 0..<16 { area.bytes[160 + 16 + index] = UInt8(0xA0 + index) }
        area.bytes[512] |= 2
        try guest.vcpu.setXSAVE(area)
        #expect(Array(try guest.vcpu.xsave().bytes[176..<192]) == Array(0xA0...0xAF))
        #expect(try guest.vcpu.fpu().xmm[1][15] == 0xAF)
        // XCOMP_BV's reserved bits.
        area.bytes[527] = 0x7F
        area.bytes[519] = 0x7F
        let error = #expect(throws: KVMError.self) { try guest.vcpu.setXSAVE(area) }
        #expect(error?.errno == .invalidArgument)
    }

    @Test func extendedControlRegisters() throws {
        let guest = try Guest([0xF4])
        try guest.vcpu.setXCRs([XCR(index: 0, value: 3)])
        #expect(try guest.vcpu.xcrs().first == XCR(index: 0, value: 3))
        // Bit 0, x87, cannot be clear. SDM volume 3A, 2.6.
        let error = #expect(throws: KVMError.self) { try guest.vcpu.setXCRs([XCR(index: 0, value: 2)]) }
        #expect(error?.errno == .invalidArgument)
        #expect(throws: KVMError.self) {
            try guest.vcpu.setXCRs([XCR](repeating: XCR(index: 0, value: 3), count: 17))
        }
        #expect(try guest.vcpu.xcrs().first?.value == 3)
    }

    @Test func debugRegisters() throws {
        let guest = try Guest([0xF4])
        var debug = DebugRegisters()
        (debug.dr0, debug.dr1, debug.dr2, debug.dr3) = (0x1000, 0x2000, 0x3000, 0x4000)
        (debug.dr6, debug.dr7) = (0xFFFF_0FF1, 0x455)
        try guest.vcpu.setDebugRegisters(debug)
        #expect(try guest.vcpu.debugRegisters() == debug)
        debug.dr7 = 1 << 32
        let error = #expect(throws: KVMError.self) { try guest.vcpu.setDebugRegisters(debug) }
        #expect(error?.errno == .invalidArgument)
        #expect(error?.advice?.contains("bits 32 to 63") == true)
        #expect(try guest.vcpu.debugRegisters().dr7 == 0x455)
    }

    @Test func modelSpecificRegisters() throws {
        let guest = try Guest([0xF4])
        let sysenter: [UInt32] = [0x174, 0x175, 0x176]
        try guest.vcpu.setMSRs(sysenter.enumerated().map { MSRValue(index: $1, value: UInt64($0 + 1) << 4) })
        #expect(try guest.vcpu.msrs(sysenter) == [0x10, 0x20, 0x30])
        try guest.vcpu.setMSR(0x174, 0x42)
        #expect(try guest.vcpu.msr(0x174) == 0x42)

        let unknown = #expect(throws: KVMError.self) { try guest.vcpu.msrs([0x174, 0x1234_5678]) }
        #expect(unknown?.errno == .invalidArgument)
        #expect(unknown?.advice == "the vCPU has no MSR 0x12345678")
        // A non-canonical base of GS.
        let refused = #expect(throws: KVMError.self) {
            try guest.vcpu.setMSR(0xC000_0101, 0x8000_0000_0000_0000)
        }
        #expect(refused?.advice?.contains("0xc0000101") == true)
        #expect(try guest.vcpu.msrs([]).isEmpty)
    }

    @Test func anMSRThatIsARegisterIsReadBackAsOne() throws {
        let guest = try Guest([0xF4])
        #expect(try guest.vcpu.run() == .hlt)
        _ = try guest.vcpu.specialRegisters()
        try guest.vcpu.setMSR(0xC000_0080, EFER.nxe.rawValue)
        #expect(try guest.vcpu.specialRegisters().efer.contains(.nxe))
    }

    @Test func cpuid() throws {
        let kvm = try KVM.open()
        let guest = try Guest([0xF4])
        var entries = try kvm.supportedCPUID()
        let brand = try #require(entries.firstIndex { $0.function == 0x8000_0002 })
        entries[brand].eax = 0x6D76_6B20
        try guest.vcpu.setCPUID(entries)
        let read = try guest.vcpu.cpuid()
        #expect(read.first { $0.function == 0x8000_0002 }?.eax == 0x6D76_6B20)
        // KVM may leave out leaves that the guest could not use; it has no others, and none twice.
        func key(_ entry: CPUIDEntry) -> UInt64 { UInt64(entry.function) << 32 | UInt64(entry.index) }
        #expect(Set(read.map(key)).count == read.count)
        #expect(Set(read.map(key)).isSubset(of: Set(entries.map(key))))
        let many = [CPUIDEntry](repeating: CPUIDEntry(function: 0), count: 257)
        let error = #expect(throws: KVMError.self) { try guest.vcpu.setCPUID(many) }
        #expect(error?.errno == .argListTooLong)
        #expect(error?.advice?.contains("257") == true)
    }

    @Test func theGuestSeesItsCPUID() throws {
        let guest = try Guest([
            0x66, 0xB8, 0x00, 0x00, 0x00, 0x40,  // mov eax, 0x40000000
            0x0F, 0xA2,  // cpuid
            0xF4,  // hlt
        ])
        try guest.vcpu.setCPUID([
            CPUIDEntry(function: 0x4000_0000, eax: 0x4000_0000, ebx: 0x1111, ecx: 0x2222, edx: 0x3333)
        ])
        #expect(try guest.vcpu.run() == .hlt)
        let registers = try guest.vcpu.registers()
        #expect(registers.rbx == 0x1111 && registers.rcx == 0x2222 && registers.rdx == 0x3333)
    }

    @Test func localAPIC() throws {
        let guest = try Guest([0xF4], irqchip: true)
        var apic = try guest.vcpu.localAPIC()
        apic[0x80] = 0x20  // TPR
        apic[0x350] = 0x8700  // LVT LINT0: ExtINT, as a BIOS leaves it
        try guest.vcpu.setLocalAPIC(apic)
        #expect(try guest.vcpu.localAPIC()[0x80] == 0x20)
        #expect(try guest.vcpu.localAPIC()[0x350] == 0x8700)
        // CR8 is bits 4 to 7 of the TPR. SDM volume 3A, 11.8.6.
        #expect(try guest.vcpu.specialRegisters().cr8 == 2)

        let without = try Guest([0xF4])
        let get = #expect(throws: KVMError.self) { try without.vcpu.localAPIC() }
        #expect(get?.operation == "KVM_GET_LAPIC")
        #expect(get?.advice?.contains("no local APIC in the kernel") == true)
        let set = #expect(throws: KVMError.self) { try without.vcpu.setLocalAPIC(apic) }
        #expect(set?.operation == "KVM_SET_LAPIC")
    }

    @Test func multiprocessingState() throws {
        let guest = try Guest([0xF4], irqchip: true)
        for state in [MPState.halted, .initReceived, .uninitialized, .runnable] {
            try guest.vcpu.setMPState(state)
            #expect(try guest.vcpu.mpState() == state)
        }
        let without = try Guest([0xF4])
        let error = #expect(throws: KVMError.self) { try without.vcpu.setMPState(.uninitialized) }
        #expect(error?.errno == .invalidArgument)
        #expect(error?.advice?.contains("always runnable") == true)
        #expect(throws: KVMError.self) { try guest.vcpu.setMPState(.other(99)) }
    }

    @Test func events() throws {
        let guest = try Guest([0xF4])
        var events = try guest.vcpu.events()
        #expect(events.flags != 0)
        events.nmiMasked = true
        events.interruptShadow = 2
        try guest.vcpu.setEvents(events)
        var read = try guest.vcpu.events()
        // SVM has one bit for STI and MOV SS, and reads it as both.
        #expect(read.interruptShadow == 2 || read.interruptShadow == 3)
        read.interruptShadow = 2
        #expect(read == events)
        events.interruptShadow = 0
        try guest.vcpu.setEvents(events)
        #expect(try guest.vcpu.events() == events)
        events.flags = 1 << 31
        let error = #expect(throws: KVMError.self) { try guest.vcpu.setEvents(events) }
        #expect(error?.operation == "KVM_SET_VCPU_EVENTS")
        #expect(error?.errno == .invalidArgument)
    }

    @Test func timeStampCounter() throws {
        let guest = try Guest([0xF4])
        let frequency = try guest.vcpu.tscKHz()
        #expect(frequency > 0)
        try guest.vcpu.setTSCKHz(frequency)
        #expect(try guest.vcpu.tscKHz() == frequency)
        // Without scaling in the processor a guest cannot have a faster TSC than the host.
        if guest.vm.check(.tscControl) == 0 {
            let error = #expect(throws: KVMError.self) { try guest.vcpu.setTSCKHz(100) }
            #expect(error?.operation == "KVM_SET_TSC_KHZ")
        }
    }

    @Test func translation() throws {
        let guest = try Guest([0xF4])
        let flat = try guest.vcpu.translate(0x7C00)
        #expect(flat.gpa == 0x7C00 && flat.isValid)

        // 4-level paging: tables at 0x4000, 0x5000, 0x6000 and 0x7000 map 0x400000 to 0x8000. (Paging outside
        // of IA-32e mode is not had on every host: KVM's PVM drops CR0.PG there, and says nothing.)
        try guest.memory.store(0x5007 as UInt64, at: 0x4000)
        try guest.memory.store(0x6007 as UInt64, at: 0x5000)
        try guest.memory.store(0x7007 as UInt64, at: 0x6010)
        try guest.memory.store(0x8007 as UInt64, at: 0x7000)
        var special = try guest.vcpu.specialRegisters()
        special.cr0 = [.pe, .et, .pg]
        special.cr4 = [.pae]
        special.efer = [.lme, .lma]
        special.cr3 = 0x4000
        try guest.vcpu.setSpecialRegisters(special)
        let mapped = try guest.vcpu.translate(0x40_0123)
        #expect(mapped.gpa == 0x8123 && mapped.isValid)
        #expect(try !guest.vcpu.translate(0x80_0000).isValid)
    }

    @Test(.enabled(if: HostTrial.has(.binaryStatsFD), "needs KVM_CAP_BINARY_STATS_FD, since Linux 5.14"))
    func countersCountExits() throws {
        let guest = try Guest([0xE6, 0xE9, 0xE6, 0xE9, 0xF4])  // out 0xE9, al; out 0xE9, al; hlt
        let reader = try guest.vcpu.statistics()
        #expect(reader.id.contains("vcpu-0"))
        func exits() throws -> UInt64? { try reader.read().first { $0.name == "io_exits" }?.values.first }
        let before = try #require(try exits())
        while try guest.vcpu.run() != .hlt {}
        let statistics = try reader.read()
        let halts = try #require(statistics.first { $0.name == "halt_exits" })
        #expect(halts.kind == .cumulative && halts.unit == .none && halts.values.count == 1)
        #expect(try #require(try exits()) >= before)
        let histogram = try #require(statistics.first { $0.name == "halt_wait_hist" })
        #expect(histogram.kind == .logHistogram && histogram.unit == .seconds && histogram.exponent == -9)
        #expect(histogram.values.count > 1)

        let machine = try guest.vm.statistics()
        #expect(machine.id.hasPrefix("kvm-"))
        #expect(try machine.read().contains { $0.name == "remote_tlb_flush" })
    }
}
