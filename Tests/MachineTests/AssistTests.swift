import DebugTarget
import KVMCore
import Locking
import Testing
import X86

@testable import Machine

/// RAM from 0, without KVM.
final class AssistMemory: PhysicalMemory {
    let bytes: Lock<[UInt8]>

    init(_ size: Int = 1 << 20) { bytes = Lock([UInt8](repeating: 0, count: size)) }

    var regions: [MemoryRegion] { [] }

    func read(_ gpa: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(MemoryFault) {
        let isRead = bytes.withLock { bytes in
            guard gpa <= UInt64(bytes.count), UInt64(bytes.count) - gpa >= UInt64(buffer.count) else {
                return false
            }
            buffer.copyBytes(from: bytes[Int(gpa)..<Int(gpa) + buffer.count])
            return true
        }
        guard isRead else { throw MemoryFault(gpa: gpa) }
    }

    func write(_ gpa: UInt64, _ source: UnsafeRawBufferPointer) throws(MemoryFault) {
        let isWritten = bytes.withLock { bytes in
            guard gpa <= UInt64(bytes.count), UInt64(bytes.count) - gpa >= UInt64(source.count) else {
                return false
            }
            bytes.replaceSubrange(Int(gpa)..<Int(gpa) + source.count, with: source)
            return true
        }
        guard isWritten else { throw MemoryFault(gpa: gpa) }
    }

    func put(_ values: [UInt8], at gpa: UInt64) { values.withUnsafeBytes { try? write(gpa, $0) } }

    func put<T: FixedWidthInteger & UnsignedInteger>(_ value: T, at gpa: UInt64) {
        var bytes: [UInt8] = []
        bytes.append(number: value)
        put(bytes, at: gpa)
    }
}

/// The same numbers in every run (Knuth's linear congruence).
struct AssistRandom: RandomNumberGenerator {
    var value: UInt64 = 0x5EED

    mutating func next() -> UInt64 {
        var result: UInt64 = 0
        for _ in 0..<2 {
            value = value &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            result = result << 32 | value >> 32
        }
        return result
    }
}

/// Each helper on states made by hand, after the manual's words.
struct AssistTests {
    let memory = AssistMemory()
    static let gdt: UInt64 = 0x1000
    static let idt: UInt64 = 0x2000
    static let tss: UInt64 = 0x3000
    static let code: UInt64 = 0x4000
    static let stack: UInt64 = 0x9000

    /// 08 code, 10 data, 1B code of ring 3, 23 data of ring 3, 28 a TSS, 38 data that is not present, 40 conforming code.
    func state(_ bytes: [UInt8], cpl: UInt8 = 0, long: Bool = false) -> AssistState {
        let code0: UInt64 = long ? 0x00AF_9A00_0000_FFFF : 0x00CF_9A00_0000_FFFF
        let code3: UInt64 = long ? 0x00AF_FA00_0000_FFFF : 0x00CF_FA00_0000_FFFF
        let table: [UInt64] = [
            0, code0, 0x00CF_9200_0000_FFFF, code3, 0x00CF_F200_0000_FFFF,
            0x0000_8B00_0000_0067 | Self.tss << 16, 0, 0x00CF_1200_0000_FFFF, 0x00CF_9E00_0000_FFFF,
        ]
        for (index, entry) in table.enumerated() { memory.put(entry, at: Self.gdt + UInt64(index) * 8) }
        memory.put(bytes, at: Self.code)
        var special = SpecialRegisters()
        special.cr0 = [.pe]
        special.gdt = DescriptorTable(base: Self.gdt, limit: UInt16(table.count * 8 - 1))
        special.idt = DescriptorTable(base: Self.idt, limit: 0x7FF)
        special.tr = Segment(
            base: Self.tss, limit: 0x67, selector: 0x28, attributes: SegmentAttributes(rawValue: 0x8B))
        func flat(_ selector: UInt16, _ attributes: UInt32) -> Segment {
            var attributes = SegmentAttributes(rawValue: attributes)
            attributes.privilege = cpl
            return Segment(base: 0, limit: 0xFFFF_FFFF, selector: selector, attributes: attributes)
        }
        special.cs = flat(cpl == 0 ? 0x08 : 0x1B, long ? 0xA09B : 0xC09B)
        for name in [SegmentName.ds, .es, .fs, .gs, .ss] {
            special[name] = flat(cpl == 0 ? 0x10 : 0x23, 0xC093)
        }
        if long { special.efer = [.lme, .lma] }
        var general = GeneralRegisters()
        general.rip = Self.code
        general.rsp = Self.stack
        return AssistState(general: general, special: special, memory: memory)
    }

    func pushed(_ state: AssistState, _ values: [UInt64], width: Int) {
        for (index, value) in values.enumerated() {
            let place = state.general.rsp + UInt64(index * width)
            switch width {
            case 2: memory.put(UInt16(truncatingIfNeeded: value), at: place)
            case 4: memory.put(UInt32(truncatingIfNeeded: value), at: place)
            default: memory.put(value, at: place)
            }
        }
    }

    func word(_ address: UInt64, _ size: Int) -> UInt64? { memory.word(address, size: size) }

    func fault(_ state: inout AssistState) -> Assist.Completion.Fault? {
        Assist.perform(&state)?.fault
    }

    // MARK: arithmetic

    /// AL, CF and AF before; AL, CF and AF after. From the manual's examples and its pseudo-code.
    @Test(
        arguments: [
            // opcode, AL, CF, AF, then AL, CF, AF
            (0x27, 0xAE, false, false, 0x14, true, true), (0x27, 0x2E, false, false, 0x34, false, true),
            (0x27, 0x99, false, false, 0x99, false, false), (0x27, 0x9A, false, false, 0x00, true, true),
            (0x27, 0x00, true, true, 0x66, true, true), (0x27, 0xFF, false, false, 0x65, true, true),
            (0x2F, 0xAE, false, false, 0x48, true, true), (0x2F, 0x05, false, true, 0xFF, true, true),
            (0x2F, 0x98, false, true, 0x92, false, true), (0x2F, 0x00, true, false, 0xA0, true, false),
        ] as [(UInt8, UInt64, Bool, Bool, UInt64, Bool, Bool)])
    func decimal(
        _ opcode: UInt8, _ before: UInt64, _ cf: Bool, _ af: Bool, _ after: UInt64, _ cfAfter: Bool,
        _ afAfter: Bool
    ) {
        var state = state([opcode])
        state.general.rax = 0x1234_0000 | before
        if cf { state.general.rflags.insert(.cf) }
        if af { state.general.rflags.insert(.af) }
        #expect(Assist.perform(&state)?.fault == nil)
        #expect(state.general.rax == 0x1234_0000 | after)
        #expect(state.general.rflags.contains(.cf) == cfAfter)
        #expect(state.general.rflags.contains(.af) == afAfter)
        #expect(state.general.rflags.contains(.zf) == (after == 0))
        #expect(state.general.rflags.contains(.sf) == (after & 0x80 != 0))
        #expect(state.general.rip == Self.code + 1)
    }

    @Test(
        arguments: [
            (0x37, 0x000A, 0x0100), (0x37, 0x0009, 0x0009), (0x3F, 0x020B, 0x0105), (0x37, 0x00FF, 0x0205),
        ]
            as [(UInt8, UInt64, UInt64)])
    func ascii(_ opcode: UInt8, _ before: UInt64, _ after: UInt64) {
        var state = state([opcode])
        state.general.rax = before
        #expect(Assist.perform(&state) != nil)
        #expect(state.general.rax == after)
    }

    @Test(arguments: [0x27, 0x2F, 0x37, 0x3F, 0xCE] as [UInt8])
    func whatIsNotThereInLongMode(_ opcode: UInt8) {
        var state = state([opcode], long: true)
        #expect(Assist.perform(&state) == nil)
    }

    @Test func waitHeedsTheX87() {
        var state = state([0x9B])
        state.processor.fpuStatus = { 0 }
        #expect(Assist.perform(&state)?.fault == nil)
        state.general.rip = Self.code
        state.special.cr0.insert([.mp, .ts])
        #expect(fault(&state)?.vector == 7)
        state.special.cr0.remove(.mp)
        state.special.cr0.insert(.ne)
        state.processor.fpuStatus = { 0x80 }
        #expect(fault(&state)?.vector == 16)
        // RIP stands at what faulted.
        #expect(state.general.rip == Self.code)
    }

    @Test func hintsAreSkipped() {
        // endbr64; nop [rax+rax+0x11223344]; rdsspq-like hint; prefetch
        for code in [
            [0xF3, 0x0F, 0x1E, 0xFA], [0x0F, 0x1F, 0x84, 0x00, 0x44, 0x33, 0x22, 0x11],
            [0xF3, 0x48, 0x0F, 0x1E, 0xC8], [0x0F, 0x18, 0x0D, 1, 0, 0, 0],
        ] as [[UInt8]] {
            var state = state(code, long: true)
            #expect(Assist.perform(&state)?.name == "nop")
            #expect(state.general.rip == Self.code + UInt64(code.count))
        }
        var cut = state([], long: true)
        memory.put([0x0F], at: (1 << 20) - 1)
        cut.general.rip = (1 << 20) - 1
        #expect(Assist.perform(&cut) == nil)
        var locked = state([0xF0, 0x9B])
        #expect(fault(&locked)?.vector == 6)
    }

    @Test func compareExchange() {
        // lock cmpxchg16b [rsi]
        var state = state([0xF0, 0x48, 0x0F, 0xC7, 0x0E], long: true)
        state.general.rsi = 0x8000
        memory.put(UInt64(1), at: 0x8000)
        memory.put(UInt64(2), at: 0x8008)
        (state.general.rax, state.general.rdx, state.general.rbx, state.general.rcx) = (1, 2, 3, 4)
        #expect(Assist.perform(&state)?.fault == nil)
        #expect(state.general.rflags.contains(.zf))
        #expect(word(0x8000, 8) == 3 && word(0x8008, 8) == 4)
        state.general.rip = Self.code
        #expect(Assist.perform(&state)?.fault == nil)
        #expect(!state.general.rflags.contains(.zf))
        #expect(state.general.rax == 3 && state.general.rdx == 4)
        state.general.rip = Self.code
        state.general.rsi = 0x8008
        #expect(fault(&state) == .init(vector: 13, code: 0))
    }

    @Test func onesAreCounted() {
        // popcnt rax, rbx
        var state = state([0xF3, 0x48, 0x0F, 0xB8, 0xC3], long: true)
        state.general.rbx = 0xF000_0000_0000_0003
        state.general.rflags.insert([.of, .sf, .af, .cf, .pf, .zf])
        #expect(Assist.perform(&state)?.name == "popcnt")
        #expect(
            state.general.rax == 6 && state.general.rflags.isDisjoint(with: [.of, .sf, .af, .cf, .pf, .zf]))
        // popcnt ax, [ebx] leaves the upper half, and nothing in it but 0 sets ZF.
        var word = self.state([0x66, 0xF3, 0x0F, 0xB8, 0x03])
        word.general.rbx = 0x8000
        word.general.rax = 0xFFFF_FFFF
        memory.put(UInt64(0xFFFF_0000), at: 0x8000)
        #expect(Assist.perform(&word)?.fault == nil)
        #expect(word.general.rax == 0xFFFF_0000 && word.general.rflags.contains(.zf))
        // Without its prefix it is none, and without the ability in CPUID it is undefined.
        var bare = self.state([0x0F, 0xB8, 0xC3])
        #expect(Assist.perform(&bare) == nil)
        var old = self.state([0xF3, 0x0F, 0xB8, 0xC3])
        old.processor.abilities.remove(.countOnes)
        #expect(fault(&old)?.vector == 6)
    }

    @Test func abilitiesAreThoseOfCPUID() {
        func entry(_ function: UInt32, ebx: UInt32 = 0, ecx: UInt32 = 0) -> CPUIDEntry {
            CPUIDEntry(function: function, index: 0, flags: 0, eax: 0, ebx: ebx, ecx: ecx, edx: 0)
        }
        #expect(AssistState.Ability.all(in: []) == [])
        #expect(AssistState.Ability.all(in: [entry(1, ecx: 1 << 23)]) == [.countOnes])
        #expect(
            AssistState.Ability.all(in: [entry(1, ecx: 1 << 13), entry(7, ebx: 1 << 20)])
                == [.compareExchange16, .accessControl])
        #expect(AssistState.Ability.all(in: [entry(1, ebx: ~0), entry(7, ecx: ~0)]) == [])
    }

    @Test func accessChecksAndXGETBV() {
        var state = state([0x0F, 0x01, 0xCB], long: true)
        #expect(Assist.perform(&state)?.name == "stac")
        #expect(state.general.rflags.contains(.ac))
        var user = self.state([0x0F, 0x01, 0xCA], cpl: 3, long: true)
        #expect(fault(&user)?.vector == 6)
        var extended = self.state([0x0F, 0x01, 0xD0], long: true)
        #expect(fault(&extended)?.vector == 6)
        extended.special.cr4.insert(.osxsave)
        extended.processor.xcr0 = { 7 }
        extended.general.rax = .max
        #expect(Assist.perform(&extended)?.fault == nil)
        #expect(extended.general.rax == 7 && extended.general.rdx == 0)
    }

    // MARK: descriptors

    @Test(
        arguments: [
            (0x08, 0, 0x00C0_9A00), (0x10, 0, 0x00C0_9200), (0x1B, 3, 0x00C0_FA00), (0x28, 0, 0x0000_8B00),
            (0x38, 0, 0x00C0_1200), (0x00, 0, nil), (0x100, 0, nil), (0x0C, 0, nil), (0x10, 3, nil),
            (0x13, 0, nil), (0x43, 3, 0x00C0_9E00),
        ] as [(UInt16, UInt8, UInt64?)])
    func accessRights(_ selector: UInt16, _ cpl: UInt8, _ rights: UInt64?) {
        // lar eax, ecx
        var state = state([0x0F, 0x02, 0xC1], cpl: cpl)
        state.general.rax = 0x55
        state.general.rcx = UInt64(selector)
        #expect(Assist.perform(&state)?.fault == nil)
        #expect(state.general.rflags.contains(.zf) == (rights != nil))
        #expect(state.general.rax == rights ?? 0x55)
    }

    @Test func limitsAndRealMode() {
        // lsl eax, [0x8000]
        var state = state([0x0F, 0x03, 0x05, 0, 0x80, 0, 0])
        memory.put(UInt16(0x10), at: 0x8000)
        #expect(Assist.perform(&state)?.name == "lsl")
        #expect(state.general.rax == 0xFFFF_FFFF)
        state.general.rip = Self.code
        memory.put(UInt16(0x28), at: 0x8000)
        #expect(Assist.perform(&state) != nil)
        #expect(state.general.rax == 0x67)
        state.general.rip = Self.code
        state.special.cr0.remove(.pe)
        state.special.cs = .real(0, code: true)
        #expect(fault(&state)?.vector == 6)
    }

    // MARK: IRET and RETF

    @Test func returnOnOneLevel() {
        var state = state([0xCF])
        pushed(state, [0x5000, 0x08, 0x0000_0ED7], width: 4)
        #expect(Assist.perform(&state)?.fault == nil)
        #expect(state.general.rip == 0x5000)
        #expect(state.general.rsp == Self.stack + 12)
        #expect(state.general.rflags.rawValue == 0xED7)
        // The accessed bit of its descriptor is set.
        #expect(word(Self.gdt + 13, 1) == 0x9B)
    }

    @Test func returnToRing3() {
        var state = state([0xCF])
        pushed(state, [0x5000, 0x1B, 0x202, 0x7000, 0x23], width: 4)
        #expect(Assist.perform(&state)?.fault == nil)
        #expect(state.cpl == 3)
        #expect(state.special.cs.selector == 0x1B && state.special.ss.selector == 0x23)
        #expect(state.general.rsp == 0x7000)
        // Data of ring 0 is not for it.
        for name in [SegmentName.ds, .es, .fs, .gs] {
            #expect(state.special[name].selector == 0 && state.special[name].attributes.isUnusable)
        }
        // And back out of IF's reach.
        #expect(state.general.rflags.contains(.if))
    }

    @Test func returnTo64BitCode() {
        var state = state([0x48, 0xCF], long: true)
        pushed(state, [0x5000, 0x08, 0x10202, 0x7008, 0], width: 8)
        #expect(Assist.perform(&state)?.fault == nil)
        #expect(state.general.rsp == 0x7008)
        #expect(state.special.ss.attributes.isUnusable && state.cpl == 0)
        #expect(state.general.rflags.contains(.rf))
        var outer = self.state([0x48, 0xCF], long: true)
        pushed(outer, [0x5000, 0x1B, 0x202, 0x7000, 0x23], width: 8)
        #expect(Assist.perform(&outer)?.fault == nil)
        #expect(outer.cpl == 3)
    }

    @Test func returnToVirtual8086() {
        var state = state([0xCF])
        pushed(state, [0x100, 0x2000, 0x2_3202, 0xFFFE, 0x3000, 0x4000, 0x5000, 0x6000, 0x7000], width: 4)
        #expect(Assist.perform(&state)?.fault == nil)
        #expect(state.isVirtual && state.cpl == 3)
        #expect(state.special.cs.base == 0x20000 && state.special.ss.base == 0x30000)
        #expect(state.special.es.base == 0x40000 && state.special.gs.base == 0x70000)
        #expect(state.special.cs.attributes.rawValue == 0xF3)
        // And an IRET there, with IOPL 3 and then without.
        memory.put([0xCF], at: 0x20100)
        memory.put(UInt16(0x55), at: 0x3FFFE)
        var none = state
        none.general.rflags.iopl = 0
        #expect(fault(&none) == .init(vector: 13, code: 0))
    }

    /// What is on the stack, and the exception that comes of it.
    @Test(
        arguments: [
            ("a null CS", [0x5000, 0, 2], 13, 0), ("beyond the table", [0x5000, 0x100, 2], 13, 0x100),
            ("data as CS", [0x5000, 0x10, 2], 13, 0x10),
            ("a CS of the LDT that is not there", [0x5000, 0x0C, 2], 13, 0x0C),
            ("ring 3's CS with RPL 0", [0x5000, 0x18, 2], 13, 0x18),
            ("a null SS", [0x5000, 0x1B, 2, 0x7000, 0], 13, 0),
            ("SS of ring 0", [0x5000, 0x1B, 2, 0x7000, 0x10], 13, 0x10),
            ("code as SS", [0x5000, 0x1B, 2, 0x7000, 0x1B], 13, 0x18),
        ] as [(String, [UInt64], UInt8, UInt32)])
    func returnsThatFault(_ what: String, _ values: [UInt64], _ vector: UInt8, _ code: UInt32) {
        var state = state([0xCF])
        pushed(state, values, width: 4)
        let before = state.general
        #expect(fault(&state) == .init(vector: vector, code: code), "\(what)")
        #expect(state.general == before)
    }

    @Test func returnsToWhatIsNotPresent() {
        var state = state([0xCF])
        pushed(state, [0x5000, 0x08, 2], width: 4)
        memory.put(UInt8(0x1A), at: Self.gdt + 13)
        #expect(fault(&state) == .init(vector: 11, code: 8))
        memory.put(UInt8(0x9A), at: Self.gdt + 13)
        state.general.rflags.insert(.nt)
        #expect(Assist.perform(&state) == nil)
        var long = self.state([0x48, 0xCF], long: true)
        pushed(long, [0x8000_0000_0000_0000, 0x08, 2, 0x7000, 0x10], width: 8)
        #expect(fault(&long) == .init(vector: 13, code: 0))
        long.general.rflags.insert(.nt)
        #expect(fault(&long) == .init(vector: 13, code: 0))
    }

    @Test func farReturnToRing3() {
        // retf 8
        var state = state([0xCA, 8, 0])
        pushed(state, [0x5000, 0x1B, 0xAAAA, 0xBBBB, 0x7000, 0x23], width: 4)
        #expect(Assist.perform(&state)?.name == "retf")
        #expect(state.cpl == 3 && state.general.rip == 0x5000)
        #expect(state.general.rsp == 0x7008)
    }
}
