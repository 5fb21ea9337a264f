import CKVM
import SystemPackage
import Testing
import X86

@testable import KVMCore

/// Interrupt lines, and events in place of calls and exits.
@Suite(.enabled(if: liveTestsRun, "needs /dev/kvm"))
struct RoutingTests {
    private static let line: UInt32 = 24
    private static let vector: UInt8 = 0x31
    private static let toLocalAPIC = GSIRoute(gsi: line, .msi(address: 0xFEE0_0000, data: UInt32(vector)))

    /// A guest that halts, with its local APIC on.
    private func guest(_ program: [UInt8] = [0xF4], split: Bool = false) throws -> Guest {
        let guest = try Guest(program, controllers: split ? .split : .all)
        var apic = try guest.vcpu.localAPIC()
        apic[0xF0] |= 0x1FF  // SVR: the APIC is on. SDM volume 3A, 11.9.
        try guest.vcpu.setLocalAPIC(apic)
        return guest
    }

    /// Whether the vector waits: IRR, bit 17 of the second word for 0x31.
    private func isRequested(_ guest: borrowing Guest) throws -> Bool {
        try guest.vcpu.localAPIC()[0x210] >> 17 & 1 == 1
    }

    @Test func aLineGoesWhereItsRouteSays() throws {
        let guest = try guest()
        try guest.vm.setGSIRouting(GSIRoute.ofController + [Self.toLocalAPIC])
        #expect(try !isRequested(guest))
        try guest.vm.setIRQLine(Self.line, true)
        #expect(try isRequested(guest))
        // The routes that KVM makes are there still.
        try guest.vm.setIRQLine(3, true)
        #expect(try guest.vm.picState(.master).irr & 1 << 3 != 0)
    }

    @Test func aLineWithoutARouteGoesNowhere() throws {
        let guest = try guest()
        try guest.vm.setGSIRouting([Self.toLocalAPIC])
        try guest.vm.setIRQLine(3, true)
        #expect(try guest.vm.picState(.master).irr == 0)
    }

    @Test func routesThatCannotBeAreExplainedAndChangeNothing() throws {
        let guest = try guest()
        let limit = UInt32(guest.vm.check(.irqRouting))
        let wrong: [([GSIRoute], String)] = [
            ([GSIRoute(gsi: limit, .ioapic(pin: 0))], "line \(limit) is out of range"),
            ([GSIRoute(gsi: 0, .ioapic(pin: 24))], "an input that is not there"),
            (
                [GSIRoute(gsi: 0, .ioapic(pin: 1)), GSIRoute(gsi: 0, .ioapic(pin: 2))],
                "goes to one chip twice"
            ),
        ]
        for (routes, advice) in wrong {
            let error = #expect(throws: KVMError.self) { try guest.vm.setGSIRouting(routes) }
            #expect(error?.operation == "KVM_SET_GSI_ROUTING")
            #expect(error?.errno == .invalidArgument)
            #expect(error?.advice?.contains(advice) == true)
        }
        try guest.vm.setIRQLine(3, true)
        #expect(try guest.vm.picState(.master).irr & 1 << 3 != 0)
        let bare = try Guest([0xF4])
        let error = #expect(throws: KVMError.self) { try bare.vm.setGSIRouting(GSIRoute.ofController) }
        #expect(error?.advice?.contains("KVM_CREATE_IRQCHIP") == true)
    }

    /// Each target's fields, where `struct kvm_irq_routing_entry` has them.
    @Test func targetsAreEncoded() {
        let pic = GSIRoute(gsi: 12, .pic(.slave, pin: 4)).encoded
        #expect((pic.gsi, pic.type, pic.u.irqchip.irqchip, pic.u.irqchip.pin) == (12, 1, 1, 4))
        let ioapic = GSIRoute(gsi: 20, .ioapic(pin: 21)).encoded
        #expect((ioapic.gsi, ioapic.type, ioapic.u.irqchip.irqchip, ioapic.u.irqchip.pin) == (20, 1, 2, 21))
        let msi = GSIRoute(gsi: 30, .msi(address: 0x1_FEE0_1000, data: 0x4031)).encoded
        #expect(
            (msi.type, msi.u.msi.address_lo, msi.u.msi.address_hi, msi.u.msi.data) == (
                2, 0xFEE0_1000, 1, 0x4031
            ))
        let sint = GSIRoute(gsi: 31, .hyperVSINT(vcpu: 5, sint: 6)).encoded
        #expect((sint.type, sint.u.hv_sint.vcpu, sint.u.hv_sint.sint) == (4, 5, 6))
        #expect(GSIRoute.ofController.count == 40)
    }

    // MARK: irqfd

    @Test(.enabled(if: HostTrial.has(.irqfd), "needs KVM_CAP_IRQFD"))
    func aSignalIsAnInterrupt() throws {
        let guest = try guest()
        try guest.vm.setGSIRouting([Self.toLocalAPIC])
        let event = try EventFD()
        try guest.vm.assignIRQFD(event, gsi: Self.line)
        let again = #expect(throws: KVMError.self) { try guest.vm.assignIRQFD(event, gsi: Self.line) }
        #expect(again?.errno == .resourceBusy)
        #expect(try !isRequested(guest))
        try event.signal()
        // The kernel may leave it to a worker.
        while try !isRequested(guest) {}

        try guest.vm.deassignIRQFD(event, gsi: Self.line)
        try event.signal(2)
        // Nobody else takes it now.
        #expect(try event.take() == 2)
    }

    @Test(.enabled(if: HostTrial.has(.irqfdResample), "needs KVM_CAP_IRQFD_RESAMPLE"))
    func aResampledLineStaysUpUntilTheEOI() throws {
        let guest = try guest()
        let event = try EventFD()
        let resample = try EventFD()
        try guest.vm.assignIRQFD(event, gsi: 4, resample: resample)
        try event.signal()
        while try guest.vm.picState(.master).irr & 1 << 4 == 0 {}
        #expect(try resample.take() == 0)
        let split = try self.guest(split: true)
        let other = try EventFD()
        let error = #expect(throws: KVMError.self) {
            try split.vm.assignIRQFD(other, gsi: 4, resample: resample)
        }
        #expect(error?.errno == .invalidArgument)
    }

    @Test(.enabled(if: HostTrial.has(.irqfd), "needs KVM_CAP_IRQFD"))
    func withoutControllersThereAreNoLines() throws {
        let guest = try Guest([0xF4])
        let event = try EventFD()
        let error = #expect(throws: KVMError.self) { try guest.vm.assignIRQFD(event, gsi: 4) }
        #expect(error?.operation == "KVM_IRQFD")
        #expect(error?.advice?.contains("KVM_CREATE_IRQCHIP") == true)
    }

    // MARK: ioeventfd

    @Test(.enabled(if: HostTrial.has(.ioeventfd), "needs KVM_CAP_IOEVENTFD"))
    func matchingWritesDoNotExit() throws {
        let program: [UInt8] = [
            0xB0, 0x07,  // mov al, 7
            0xE6, 0x80,  // out 0x80, al
            0xE6, 0x80,  // out 0x80, al
            0xB0, 0x08,  // mov al, 8
            0xE6, 0x80,  // out 0x80, al
            0xF4,  // hlt
        ]
        let guest = try Guest(program)
        let event = try EventFD()
        let writes = IOEvent(.port(0x80), length: 1, value: 7)
        try guest.vm.assignIOEventFD(event, writes)
        let twice = #expect(throws: KVMError.self) { try guest.vm.assignIOEventFD(event, writes) }
        #expect(twice?.errno == .fileExists)
        #expect(try guest.vcpu.run().portIO?.data.value == 8)
        #expect(try event.take() == 2)
        #expect(try event.take() == 0)
        #expect(try guest.vcpu.run() == .hlt)

        try guest.vm.deassignIOEventFD(event, writes)
        let absent = #expect(throws: KVMError.self) { try guest.vm.deassignIOEventFD(event, writes) }
        #expect(absent?.errno == .noSuchFileOrDirectory)
        try guest.vcpu.enterRealMode(at: Guest.start)
        #expect(try guest.vcpu.run().portIO?.data.value == 7)
    }

    @Test(.enabled(if: HostTrial.has(.ioeventfdAnyLength), "needs KVM_CAP_IOEVENTFD_ANY_LENGTH"))
    func writesOfAnyLengthToMemoryCount() throws {
        let guest = try Guest([
            0xB8, 0x00, 0xB8,  // mov ax, 0xB800
            0x8E, 0xD8,  // mov ds, ax
            0xC7, 0x06, 0x10, 0x00, 0x34, 0x12,  // mov word [0x10], 0x1234
            0xC6, 0x06, 0x10, 0x00, 0x34,  // mov byte [0x10], 0x34
            0xC6, 0x06, 0x11, 0x00, 0x34,  // mov byte [0x11], 0x34
            0xF4,  // hlt
        ])
        let event = try EventFD()
        try guest.vm.assignIOEventFD(event, IOEvent(.mmio(0xB8010), length: 0))
        #expect(try guest.vcpu.run().mmioAccess?.gpa == 0xB8011)
        #expect(try event.take() == 2)
        for wrong in [IOEvent(.mmio(0xB8010), length: 3), IOEvent(.mmio(.max), length: 8)] {
            let error = #expect(throws: KVMError.self) { try guest.vm.assignIOEventFD(event, wrong) }
            #expect(error?.errno == .invalidArgument)
        }
    }

    // MARK: Local APICs alone

    @Test(.enabled(if: HostTrial.has(.splitIRQChip), "needs KVM_CAP_SPLIT_IRQCHIP"))
    func localAPICsAloneHaveNoOtherChips() throws {
        let guest = try guest(split: true)
        #expect(try guest.vcpu.localAPIC()[0x20] == 0)
        #expect(try guest.vm.signalMSI(address: 0xFEE0_0000, data: UInt32(Self.vector)))
        #expect(try isRequested(guest))
        let pic = #expect(throws: KVMError.self) { try guest.vm.picState(.master) }
        #expect(pic?.errno == .noSuchAddressOrDevice)
        let pit = #expect(throws: KVMError.self) { try guest.vm.createPIT() }
        #expect(pit?.errno == .noSuchFileOrDirectory)
        let twice = #expect(throws: KVMError.self) { try guest.vm.createSplitInterruptController() }
        #expect(twice?.errno == .fileExists)
        let vm = try KVM.open().createVM()
        for pins in [-1, 1 << 20] {
            let error = #expect(throws: KVMError.self) { try vm.createSplitInterruptController(pins: pins) }
            #expect(error?.errno == .invalidArgument)
        }
    }

    @Test(.enabled(if: HostTrial.has(.splitIRQChip), "needs KVM_CAP_SPLIT_IRQCHIP"))
    func theEndOfALevelTriggeredInterruptComesOut() throws {
        let guest = try guest(
            [
                0xFB,  // sti
                0x90,  // nop
                0xEB, 0xFD,  // jmp to the nop
            ], split: true)
        // IVT entry 0x31: 0000:3000, where the interrupt is ended: mov dword [0xB0], 0; hlt. SDM volume 3A, 11.8.5.
        try guest.memory.store(0x3000 as UInt32, at: UInt64(Self.vector) * 4)
        try guest.memory.write(0x3000, [0x66, 0xC7, 0x06, 0xB0, 0x00, 0x00, 0x00, 0x00, 0x00, 0xEB, 0xFE])
        var special = try guest.vcpu.specialRegisters()
        special.ds.base = 0xFEE0_0000
        try guest.vcpu.setSpecialRegisters(special)
        // Line 2 of the VMM's IOAPIC: level-triggered, asserted. SDM volume 3A, 11.11.2.
        let data = UInt32(Self.vector) | 1 << 15 | 1 << 14
        try guest.vm.setGSIRouting([GSIRoute(gsi: 2, .msi(address: 0xFEE0_0000, data: data))])
        try guest.vm.setIRQLine(2, true)
        #expect(try guest.vcpu.run() == .ioapicEOI(vector: Self.vector))
    }

    // MARK: Port 0x61

    @Test(arguments: [false, true])
    func theSpeakersPortAnswersWhereItIsAskedFor(speakerDummy: Bool) throws {
        let guest = try Guest(
            [
                0xE4, 0x61,  // in al, 0x61
                0xE6, 0x80,  // out 0x80, al
            ], controllers: .all)
        try guest.vm.createPIT(speakerDummy: speakerDummy)
        let io = try #require(try guest.vcpu.run().portIO)
        #expect(io.port == (speakerDummy ? 0x80 : 0x61))
        #expect(io.direction == (speakerDummy ? .out : .in))
    }

    @Test func theSpeakersDataIsAFlagOfTheTimer() throws {
        let guest = try Guest(
            [
                0xB0, 0x02,  // mov al, 2
                0xE6, 0x61,  // out 0x61, al
                0xE6, 0x80,  // out 0x80, al
            ], controllers: .all)
        try guest.vm.createPIT(speakerDummy: true)
        #expect(try guest.vm.pitState().flags.isEmpty)
        #expect(try guest.vcpu.run().portIO?.port == 0x80)
        let flags = try guest.vm.pitState().flags
        // Kernels before 6.0 do not keep it.
        #expect(flags == .speakerData || flags.isEmpty)
        var state = try guest.vm.pitState()
        for flags in [PITState.Flags.hpetLegacy, []] {
            state.flags = flags
            try guest.vm.setPITState(state)
            #expect(try guest.vm.pitState().flags == flags)
        }
    }
}

@Suite struct EventFDTests {
    @Test func countsAddUpAndAreTakenAtOnce() throws {
        let event = try EventFD()
        #expect(try event.take() == 0)
        try event.signal()
        try event.signal(41)
        #expect(try event.take() == 42)
        #expect(try event.take() == 0)
        try event.signal(.max - 1)
        let full = #expect(throws: KVMError.self) { try event.signal() }
        #expect(full?.errno == .resourceTemporarilyUnavailable)
        let invalid = #expect(throws: KVMError.self) { try event.signal(.max) }
        #expect(invalid?.errno == .invalidArgument)
    }

    /// Descriptors of this process mean nothing in another one.
    @Test func theyAreNotGivenToAVMOfAnotherProcess() throws {
        let channel = FakeChannel()
        let vm = VirtualMachine(descriptor: 16, channel: channel)
        let event = try EventFD()
        let calls: [(borrowing VirtualMachine) throws -> Void] = [
            { try $0.assignIRQFD(event, gsi: 4) }, { try $0.deassignIRQFD(event, gsi: 4) },
            { try $0.assignIOEventFD(event, IOEvent(.port(1), length: 1)) },
            { try $0.deassignIOEventFD(event, IOEvent(.port(1), length: 1)) },
            { _ = try $0.createDevice(.vfio) }, { try $0.enableDirtyRing(size: 65536) },
        ]
        for call in calls {
            let error = #expect(throws: KVMError.self) { try call(vm) }
            #expect(error?.errno == .notSupported)
        }
        #expect(channel.calls.isEmpty)
    }
}
