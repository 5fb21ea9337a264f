import Testing
import X86

@Suite struct SystemTests {
    private let table = CPUIDTable([
        CPUIDLeaf(function: 0, eax: 0x10, ebx: 0x6874_7541, ecx: 0x444D_4163, edx: 0x6974_6E65),
        CPUIDLeaf(function: 1, eax: 0x00A1_0F11, ecx: 1 << 31 | 1, edx: 1 << 26 | 1),
        CPUIDLeaf(function: 7, index: 0, ecx: 1 << 16, edx: 1 << 31),
        CPUIDLeaf(function: 0xD, index: 2, eax: 256, ebx: 576),
        CPUIDLeaf(function: 0x8000_0001, edx: 1 << 26 | 1 << 20),
        CPUIDLeaf(function: 0x8000_0008, eax: 0x3028),
    ])

    @Test func cpuidHasNames() {
        #expect(table.vendor == "AuthenticAMD")
        #expect(table.version.map { [$0.family, $0.model, $0.stepping] } == [0x19, 0x11, 1])
        #expect(table[1]?.features == ["fpu", "sse2", "sse3", "hypervisor"])
        #expect(table[7]?.features == ["la57", "ssbd"])
        #expect(table[0x8000_0001]?.features == ["nx", "pdpe1gb"])
        var features = PagingFeatures(physicalAddressBits: 0x28, hasGigabytePages: true)
        features.reservesUpperGlobal = true
        #expect(table.pagingFeatures == features)
        #expect(table.extendedStateLayout(2)?.offset == 576)
        #expect(table.extendedStateLayout(9) == nil)
        #expect(CPUIDTable([]).pagingFeatures == PagingFeatures())
        #expect(CPUIDTable([]).version == nil)
        // Bytes that are no text are not shown as one.
        #expect(CPUIDLeaf(function: 0, ebx: 0x1B).text == nil)
    }

    @Test(arguments: [
        ("efer", UInt32(0xC000_0080)), ("IA32_EFER", 0xC000_0080), ("MSR_LSTAR", 0xC000_0082),
        ("apic_base", 0x1B), ("mtrr_physmask3", 0x207), ("x2apic_icr", 0x830),
        ("KVM_STEAL_TIME", 0x4B56_4D03),
    ])
    func msrsHaveNames(_ name: String, _ index: UInt32) {
        #expect(ModelSpecificRegister.index(named: name) == index)
        #expect(ModelSpecificRegister.name(of: index) != nil)
    }

    @Test func msrNamesAreUnique() {
        let all = ModelSpecificRegister.all
        #expect(Set(all.map(\.index)).count == all.count)
        #expect(Set(all.map { $0.name.lowercased() }).count == all.count)
        #expect(ModelSpecificRegister.index(named: "frobnicate") == nil)
        #expect(ModelSpecificRegister.suggestions(for: "lstaar").first == "lstar")
    }

    @Test func msrsAreDecoded() {
        #expect(
            ModelSpecificRegister.meaning(of: 0x1B, 0xFEE0_0D00) == "x2APIC, at 0xfee00000, boot processor")
        #expect(
            ModelSpecificRegister.meaning(of: 0x277, 0x0007_0406_0007_0406) == "WB WT UC- UC WB WT UC- UC")
        #expect(ModelSpecificRegister.meaning(of: 0xC000_0080, 0x501) == "SCE LME LMA")
        #expect(
            ModelSpecificRegister.meaning(of: 0xC000_0081, 0x0023_0010_0000_0000)
                == "SYSCALL CS 0010, SYSRET CS 0023")
        #expect(ModelSpecificRegister.meaning(of: 0x174, 8) == nil)
    }

    @Test func taskStates() {
        let bytes = (0..<0x68).map { UInt8($0) }
        func state(_ attributes: UInt32, _ inLongMode: Bool, size: Int = 0x68) -> TaskState {
            TaskState(SegmentAttributes(rawValue: attributes), inLongMode: inLongMode) { offset, width in
                guard offset + width <= size else { return nil }
                return (0..<width).reduce(0) { $0 | UInt64(bytes[offset + $1]) << UInt64($1 * 8) }
            }
        }
        func value(_ state: TaskState, _ name: String) -> UInt64? {
            state.fields.first { $0.name == name }?.value
        }
        let long = state(0x8B, true)
        #expect(long.format == .bits64)
        #expect(value(long, "rsp0") == 0x0B0A_0908_0706_0504)
        #expect(value(long, "ist7") == 0x5B5A_5958_5756_5554)
        #expect(value(long, "iomap") == 0x6766)
        let wide = state(0x8B, false)
        #expect(value(wide, "esp0") == 0x0706_0504 && value(wide, "ss0") == 0x0908)
        #expect(value(wide, "cr3") == 0x1F1E_1D1C && value(wide, "edi") == 0x4746_4544)
        #expect(value(wide, "ldt") == 0x6160)
        let narrow = state(0x83, false, size: 0x2A)
        #expect(narrow.format == .bits16)
        #expect(value(narrow, "sp0") == 0x0302 && value(narrow, "ds") == 0x2928)
        #expect(value(narrow, "ldt") == nil)
    }

    @Test func extendedStates() {
        var bytes = [UInt8](repeating: 0xEE, count: 4096)
        for index in 512..<528 { bytes[index] = 0 }
        bytes[512] = 0b110
        for index in 0..<16 {
            bytes[160 + 16 + index] = UInt8(index)
            bytes[576 + 16 + index] = UInt8(0x80 + index)
        }
        let state = ExtendedState(bytes: bytes, enabled: XCR0(rawValue: 0x207)) {
            table.extendedStateLayout($0)
        }
        #expect(state.components.map(\.name) == ["x87", "sse", "avx", "pkru"])
        #expect(state.components.map(\.isInUse) == [false, true, true, false])
        #expect(state.ymm(1) == Array(0..<16) + Array(0x80..<0x90))
        #expect(state.pkru == nil, "nothing says where it is")
        // What is not in use is as at reset, whatever its bytes are.
        bytes[512] = 0
        let initial = ExtendedState(bytes: bytes, enabled: XCR0(rawValue: 7)) { _ in (576, 256) }
        #expect(initial.ymm(1) == [UInt8](repeating: 0, count: 32))
        // An area that ends early, or a layout that points beyond it, is not read beyond its end.
        let short = ExtendedState(bytes: Array(bytes.prefix(520)), enabled: XCR0(rawValue: .max)) { _ in
            (.max, 16)
        }
        #expect(short.ymm(0) == nil)
        #expect(short.components.allSatisfy { $0.number < 2 || $0.range == nil })
    }

    @Test func vectors() {
        #expect(InterruptVector.exception(14) == "#PF page fault")
        #expect(InterruptVector.exception(32) == nil)
        #expect(InterruptVector.realMode(0x10) == "BIOS video")
        #expect(InterruptVector.realMode(6) == "#UD invalid opcode")
    }

    /// Real mode has no page faults, no TSS and no shadow stacks: those vectors are interrupts there.
    @Test(arguments: UInt8.min...UInt8.max)
    func vectorsThatAreExceptionsInRealMode(_ vector: UInt8) {
        let raised: Set<UInt8> = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 16, 18, 19]
        #expect(InterruptVector.isException(vector, inRealMode: true) == raised.contains(vector))
        let elsewhere = raised.union([9, 10, 11, 14, 17, 20, 21, 28, 29, 30])
        #expect(InterruptVector.isException(vector, inRealMode: false) == elsewhere.contains(vector))
    }
}
