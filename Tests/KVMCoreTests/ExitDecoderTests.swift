import CKVM
import Testing

@testable import KVMCore

/// A made-up `kvm_run` mapping: the size that the kernel gives here, and a payload by fields.
private struct Page: CustomTestStringConvertible {
    var bytes = [UInt8](repeating: 0, count: 12288)

    init(_ reason: Int32) { bytes.store(UInt32(reason), at: 8) }

    /// A field, by its offset in the payload.
    func with<Value: FixedWidthInteger & UnsignedInteger>(_ offset: Int, _ value: Value) -> Page {
        var page = self
        page.bytes.store(value, at: 32 + offset)
        return page
    }

    /// I/O data after the structure.
    func with(data: [UInt8], at offset: Int = 4096) -> Page {
        var page = self
        page.bytes.replaceSubrange(offset..<offset + data.count, with: data)
        return page
    }

    var payload: [UInt8] { Array(bytes[32..<288]) }

    /// Short, because the runner prints arguments whole.
    var testDescription: String { "\(ExitReason(rawValue: bytes.load(8))) \(bytes[32..<56])" }

    var exit: VCPUExit {
        var bytes = bytes
        return bytes.withUnsafeMutableBytes { VCPUExit(page: $0) }
    }

    static func io(
        direction: UInt8, size: UInt8, port: UInt16 = 0x3F8, count: UInt32 = 1, offset: UInt64 = 4096
    ) -> Page {
        Page(KVM_EXIT_IO).with(0, direction).with(1, size).with(2, port).with(4, count).with(8, offset)
    }

    static func mmio(length: UInt32, isWrite: UInt8, data: UInt64 = 0x8877_6655_4433_2211) -> Page {
        Page(KVM_EXIT_MMIO).with(0, 0xFED0_0000 as UInt64).with(8, data).with(16, length).with(20, isWrite)
    }
}

@Suite struct ExitDecoderTests {
    @Test(
        "every reason of x86, with its payload",
        arguments: [
            (Page(KVM_EXIT_UNKNOWN).with(0, 77 as UInt64), VCPUExit.unknown(hardwareReason: 77)),
            (
                Page(KVM_EXIT_EXCEPTION).with(0, 13 as UInt32).with(4, 5 as UInt32),
                .exception(vector: 13, errorCode: 5)
            ),
            (
                Page(KVM_EXIT_HYPERCALL).with(0, 12 as UInt64).with(8, 1 as UInt64).with(48, 6 as UInt64)
                    .with(64, 0x30 as UInt64),
                .hypercall(Hypercall(number: 12, arguments: [1, 0, 0, 0, 0, 6], flags: 0x30))
            ),
            (
                Page(KVM_EXIT_DEBUG).with(0, 1 as UInt32).with(8, 0x7C00 as UInt64).with(16, 0x4001 as UInt64)
                    .with(24, 0x400 as UInt64),
                .debug(DebugExit(exception: 1, pc: 0x7C00, dr6: 0x4001, dr7: 0x400))
            ),
            (Page(KVM_EXIT_HLT), .hlt),
            (Page(KVM_EXIT_IRQ_WINDOW_OPEN), .irqWindowOpen),
            (Page(KVM_EXIT_SHUTDOWN), .shutdown),
            (
                Page(KVM_EXIT_FAIL_ENTRY).with(0, 0x8000_0021 as UInt64).with(8, 3 as UInt32),
                .failEntry(hardwareReason: 0x8000_0021, cpu: 3)
            ),
            (Page(KVM_EXIT_INTR), .interrupted),
            (Page(KVM_EXIT_SET_TPR), .setTPR),
            (
                Page(KVM_EXIT_TPR_ACCESS).with(0, 0x1234 as UInt64).with(8, 1 as UInt32),
                .tprAccess(rip: 0x1234, isWrite: true)
            ),
            (Page(KVM_EXIT_NMI), .nmi),
            (Page(KVM_EXIT_WATCHDOG), .watchdog),
            (
                Page(KVM_EXIT_SYSTEM_EVENT).with(0, 3 as UInt32).with(4, 2 as UInt32).with(8, 10 as UInt64)
                    .with(16, 11 as UInt64),
                .systemEvent(type: 3, data: [10, 11])
            ),
            (Page(KVM_EXIT_IOAPIC_EOI).with(0, 0x30 as UInt8), .ioapicEOI(vector: 0x30)),
            (
                Page(KVM_EXIT_X86_RDMSR).with(8, 2 as UInt32).with(12, 0xC000_0080 as UInt32)
                    .with(16, 99 as UInt64),
                .readMSR(MSRAccess(index: 0xC000_0080, data: 0, why: 2))
            ),
            (
                Page(KVM_EXIT_X86_WRMSR).with(8, 4 as UInt32).with(12, 0x10 as UInt32).with(16, 99 as UInt64),
                .writeMSR(MSRAccess(index: 0x10, data: 99, why: 4))
            ),
            (Page(KVM_EXIT_DIRTY_RING_FULL), .dirtyRingFull),
            (Page(KVM_EXIT_AP_RESET_HOLD), .apResetHold),
            (Page(KVM_EXIT_X86_BUS_LOCK), .busLock),
            (Page(KVM_EXIT_NOTIFY).with(0, 1 as UInt32), .notify(flags: 1)),
            (
                Page(KVM_EXIT_MEMORY_FAULT).with(0, 8 as UInt64).with(8, 0x10_0000 as UInt64)
                    .with(16, 0x1000 as UInt64),
                .memoryFault(flags: 8, gpa: 0x10_0000, size: 0x1000)
            ),
            (
                Page(KVM_EXIT_TDX).with(0, 1 as UInt64).with(8, 0x10002 as UInt64).with(16, 0 as UInt64)
                    .with(24, 0x8000 as UInt64).with(32, 0x2000 as UInt64),
                .tdx(TDXCall(flags: 1, number: 0x10002, result: 0, data: [0x8000, 0x2000, 0, 0, 0]))
            ),
            (
                Page(KVM_EXIT_SNP_REQ_CERTS).with(0, 0x9000 as UInt64).with(8, 4 as UInt64),
                .snpCertificates(gpa: 0x9000, pages: 4)
            ),
        ] as [(Page, VCPUExit)])
    private func decodes(_ page: Page, _ exit: VCPUExit) {
        #expect(page.exit == exit)
        #expect(page.exit.reason.rawValue == page.bytes.load(8, as: UInt32.self))
    }

    @Test func hypervisorEmulationExitsKeepTypeAndRawPayload() {
        let hyperV = Page(KVM_EXIT_HYPERV).with(0, 2 as UInt32).with(8, 0x1122 as UInt64)
        #expect(hyperV.exit == .hyperV(type: 2, payload: Array(hyperV.payload[8..<56])))
        let xen = Page(KVM_EXIT_XEN).with(0, 1 as UInt32).with(16, 0x3344 as UInt64)
        #expect(xen.exit == .xen(type: 1, payload: Array(xen.payload[8..<80])))
    }

    @Test(
        arguments: [
            (
                Page(KVM_EXIT_HYPERV).with(0, 1 as UInt32).with(8, 0x4000_0080 as UInt32).with(
                    16, 3 as UInt64
                )
                .with(24, 0x5000 as UInt64).with(32, 0x6000 as UInt64),
                "SYNIC", "msr=40000080 control=3 evt_page=5000 msg_page=6000"
            ),
            (
                Page(KVM_EXIT_HYPERV).with(0, 2 as UInt32).with(8, 0x5C as UInt64).with(24, 7 as UInt64)
                    .with(32, 9 as UInt64),
                "HCALL", "input=5c result=0 params[0]=7 params[1]=9"
            ),
            (
                Page(KVM_EXIT_HYPERV).with(0, 3 as UInt32).with(8, 0x4000_00F1 as UInt32).with(
                    48, 0x7000 as UInt64),
                "SYNDBG", "msr=400000f1 control=0 status=0 send_page=0 recv_page=0 pending_page=7000"
            ),
            (
                Page(KVM_EXIT_XEN).with(0, 1 as UInt32).with(8, 1 as UInt32).with(12, 3 as UInt32)
                    .with(16, 0x11 as UInt64).with(72, 0x22 as UInt64),
                "HCALL",
                "longmode=1 cpl=3 input=11 result=0 params[0]=0 params[1]=0 params[2]=0 params[3]=0 params[4]=0 "
                    + "params[5]=22"
            ),
        ] as [(Page, String, String)])
    private func hypervisorsPayloadsHaveNames(_ page: Page, _ name: String, _ fields: String) throws {
        let known = try #require(page.exit.hypervisor)
        #expect(known.name == name)
        #expect(
            known.fields.map { "\($0.name)=\(String($0.value, radix: 16))" }.joined(separator: " ") == fields)
    }

    @Test func aNewHypervisorsPayloadStaysRaw() {
        #expect(Page(KVM_EXIT_HYPERV).with(0, 9 as UInt32).exit.hypervisor == nil)
        #expect(VCPUExit.hlt.hypervisor == nil)
    }

    @Test(arguments: [13, 15, 22, 25, 28, 35, 38, 41, 1000, .max] as [UInt32])
    func otherReasonsKeepNumberAndPayload(_ reason: UInt32) {
        var page = Page(0).with(0, 0x0102_0304_0506_0708 as UInt64).with(248, 0xFF as UInt8)
        page.bytes.store(reason, at: 8)
        #expect(page.exit == .other(reason: reason, payload: page.payload))
        #expect(page.exit.reason.rawValue == reason)
    }

    // MARK: Port I/O

    @Test(arguments: [(1, 0x44), (2, 0x3344), (4, 0x1122_3344)] as [(UInt8, UInt64)])
    func outHasItsDataAndNoMore(size: UInt8, value: UInt64) {
        let page = Page.io(direction: 1, size: size).with(data: [0x44, 0x33, 0x22, 0x11, 0xFF, 0xFF])
        #expect(
            page.exit
                == .io(
                    PortIO(
                        direction: .out, port: 0x3F8, size: Int(size), count: 1,
                        data: AccessData(value: value, count: Int(size)))))
    }

    @Test func stringOutHasAllItsBytes() {
        let page = Page.io(direction: 1, size: 2, count: 3).with(data: [1, 2, 3, 4, 5, 6, 7])
        #expect(
            page.exit
                == .io(
                    PortIO(
                        direction: .out, port: 0x3F8, size: 2, count: 3,
                        data: AccessData(value: 0x0201, count: 2), string: [1, 2, 3, 4, 5, 6])))
    }

    @Test func inHasNoDataYet() {
        let page = Page.io(direction: 0, size: 4, count: 2).with(data: [9, 9, 9, 9])
        #expect(
            page.exit
                == .io(
                    PortIO(
                        direction: .in, port: 0x3F8, size: 4, count: 2, data: AccessData(value: 0, count: 4)))
        )
    }

    @Test func dataMayEndWithTheMapping() {
        let page = Page.io(direction: 1, size: 1, count: 2, offset: 12286).with(data: [7, 8], at: 12286)
        #expect(page.exit.portIOForTests?.string == [7, 8])
    }

    @Test(
        "fields that contradict each other or point outside are given raw",
        arguments: [
            Page.io(direction: 2, size: 1), Page.io(direction: 1, size: 0), Page.io(direction: 1, size: 3),
            Page.io(direction: 1, size: 8), Page.io(direction: 1, size: 1, count: 0),
            Page.io(direction: 1, size: 1, offset: 12288), Page.io(direction: 1, size: 2, offset: 12287),
            Page.io(direction: 1, size: 1, offset: .max), Page.io(direction: 0, size: 1, offset: 1 << 63),
            Page.io(direction: 1, size: 4, count: .max), Page.io(direction: 0, size: 4, count: 0x4000_0000),
            Page.io(direction: 1, size: 1, count: 8193),
        ])
    private func hostilePortIO(_ page: Page) {
        #expect(page.exit == .other(reason: 2, payload: page.payload))
        #expect(page.exit.needsCompletion)
    }

    // MARK: MMIO

    @Test(arguments: 1...8 as ClosedRange<UInt32>)
    func memoryWritesAreCutToTheirLength(_ length: UInt32) {
        let data = AccessData(value: 0x8877_6655_4433_2211, count: Int(length))
        #expect(
            Page.mmio(length: length, isWrite: 1).exit
                == .mmio(MMIO(gpa: 0xFED0_0000, isWrite: true, data: data)))
        #expect(
            Page.mmio(length: length, isWrite: 0).exit
                == .mmio(
                    MMIO(gpa: 0xFED0_0000, isWrite: false, data: AccessData(value: 0, count: Int(length)))))
    }

    @Test(arguments: [0, 9, 255, .max] as [UInt32])
    func hostileMemoryAccess(_ length: UInt32) {
        let page = Page.mmio(length: length, isWrite: 1)
        #expect(page.exit == .other(reason: 6, payload: page.payload))
    }

    // MARK: Internal errors and counts

    @Test func emulationFailureHasItsInstruction() {
        let page = Page(KVM_EXIT_INTERNAL_ERROR).with(0, 1 as UInt32).with(4, 3 as UInt32)
            .with(8, 1 as UInt64).with(16, 2 as UInt8).with(17, 0x0F as UInt8).with(18, 0x0B as UInt8)
        guard case .internalError(let error) = page.exit else { return #expect(Bool(false), "\(page.exit)") }
        #expect(error.suberror == 1)
        #expect(error.data.count == 3)
        #expect(error.instruction == [0x0F, 0x0B])
    }

    @Test(
        "no instruction without the flag, the words for it, or for another suberror",
        arguments: [(1, 3, 0), (1, 2, 1), (1, 0, 1), (3, 3, 1)] as [(UInt32, UInt32, UInt64)])
    func noInstruction(suberror: UInt32, words: UInt32, flags: UInt64) {
        let page = Page(KVM_EXIT_INTERNAL_ERROR).with(0, suberror).with(4, words).with(8, flags)
            .with(16, 2 as UInt8)
        guard case .internalError(let error) = page.exit else { return #expect(Bool(false), "\(page.exit)") }
        #expect(error.instruction.isEmpty)
        #expect(error.data.count == Int(words))
    }

    @Test(arguments: [17, 1000, .max] as [UInt32])
    func countsAreCutToWhatThePayloadHolds(_ count: UInt32) {
        let error = Page(KVM_EXIT_INTERNAL_ERROR).with(0, 1 as UInt32).with(4, count).with(8, 1 as UInt64)
            .with(16, 255 as UInt8)
        guard case .internalError(let decoded) = error.exit else { return #expect(Bool(false)) }
        #expect(decoded.data.count == 16)
        #expect(decoded.instruction.count == 15)
        let event = Page(KVM_EXIT_SYSTEM_EVENT).with(0, 1 as UInt32).with(4, count)
        #expect(event.exit == .systemEvent(type: 1, data: [UInt64](repeating: 0, count: 16)))
    }

    @Test func aPageOfNoiseIsAlwaysDecoded() {
        // A fixed sequence (Knuth's MMIX generator), so that a failure comes again.
        var state: UInt64 = 42
        func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state >> 24
        }
        for round in 0..<4000 {
            var page = Page(Int32(round % 42))
            for word in 0..<32 { page.bytes.store(next(), at: 32 + word * 8) }
            #expect(page.exit.reason.rawValue == UInt32(round % 42))
        }
    }
}

extension VCPUExit {
    fileprivate var portIOForTests: PortIO? { if case .io(let io) = self { io } else { nil } }
}

@Suite struct ExitReasonTests {
    @Test(
        arguments: [
            (0, "UNKNOWN"), (2, "IO"), (4, "DEBUG"), (5, "HLT"), (6, "MMIO"), (8, "SHUTDOWN"),
            (9, "FAIL_ENTRY"),
            (10, "INTR"), (17, "INTERNAL_ERROR"), (24, "SYSTEM_EVENT"), (26, "IOAPIC_EOI"), (29, "X86_RDMSR"),
            (30, "X86_WRMSR"), (33, "X86_BUS_LOCK"), (37, "NOTIFY"), (39, "MEMORY_FAULT"), (40, "TDX"),
            (43, "SNP_REQ_CERTS"),
        ] as [(UInt32, String)])
    func names(_ number: UInt32, _ name: String) {
        #expect(ExitReason(rawValue: number).name == name)
        #expect(ExitReason(rawValue: number).description == name)
    }

    @Test func aNewerReasonIsItsNumber() {
        #expect(ExitReason(rawValue: 4711).name == nil)
        #expect(ExitReason(rawValue: 4711).description == "4711")
    }
}
