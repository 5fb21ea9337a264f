import Disassembler
import Testing
import X86

/// Bytes written as hexadecimal digits, spaces ignored.
func bytes(_ text: String) -> [UInt8] {
    let digits = text.filter { $0 != " " }
    var result: [UInt8] = []
    var rest = digits[...]
    while !rest.isEmpty {
        guard let byte = UInt8(rest.prefix(2), radix: 16) else { return [] }
        result.append(byte)
        rest = rest.dropFirst(2)
    }
    return result
}

struct Sample: Sendable, CustomTestStringConvertible {
    var hex: String
    var address: UInt64
    var mode: DecodeMode
    var text: String
    var traits: InstructionTraits = []
    var target: BranchTarget?
    var testDescription: String { "\(hex) in \(mode.rawValue): \(text)" }
}

@Suite struct DecodeTests {
    static let samples: [Sample] = [
        // The first instruction of every BIOS.
        Sample(
            hex: "ea5be000f0", address: 0xFFF0, mode: .real16, text: "jmp far 0xf000:0xe05b",
            traits: [.jump, .far], target: .far(SegmentedAddress(selector: 0xF000, offset: 0xE05B))),
        Sample(hex: "660f0116007c", address: 0, mode: .real16, text: "lgdt [0x7c00]", traits: .privileged),
        Sample(
            hex: "0f22c0", address: 0, mode: .real16, text: "mov cr0, eax",
            traits: [.writesControl, .privileged]),
        Sample(hex: "0f20c0", address: 0, mode: .real16, text: "mov eax, cr0", traits: .privileged),
        Sample(
            hex: "0f01f0", address: 0, mode: .real16, text: "lmsw ax", traits: [.writesControl, .privileged]),
        Sample(
            hex: "0f23f8", address: 0, mode: .protected32, text: "mov dr7, eax",
            traits: [.writesDebug, .privileged]),
        Sample(hex: "678b00", address: 0, mode: .real16, text: "mov ax, [eax]"),
        Sample(hex: "668b07", address: 0, mode: .real16, text: "mov eax, [bx]"),
        Sample(hex: "8b5002", address: 0, mode: .real16, text: "mov dx, [bx+si+0x2]"),
        Sample(hex: "678b1408", address: 0, mode: .real16, text: "mov dx, [eax+ecx*1]"),
        Sample(hex: "f3a5", address: 0, mode: .real16, text: "rep movsw", traits: [.string, .rep]),
        Sample(hex: "f366a5", address: 0, mode: .real16, text: "rep movsd", traits: [.string, .rep]),
        Sample(hex: "f3a5", address: 0, mode: .protected32, text: "rep movsd", traits: [.string, .rep]),
        Sample(hex: "f2ae", address: 0, mode: .long64, text: "repne scasb", traits: [.string, .rep]),
        Sample(hex: "f36e", address: 0, mode: .real16, text: "rep outsb", traits: [.string, .rep, .portIO]),
        Sample(hex: "a4", address: 0, mode: .real16, text: "movsb", traits: .string),
        Sample(hex: "cb", address: 0, mode: .real16, text: "retf", traits: [.return, .far]),
        Sample(hex: "ca0400", address: 0, mode: .real16, text: "retf 0x4", traits: [.return, .far]),
        Sample(hex: "c3", address: 0, mode: .long64, text: "ret", traits: .return),
        Sample(hex: "f3c3", address: 0, mode: .long64, text: "ret", traits: .return),
        Sample(hex: "cf", address: 0, mode: .real16, text: "iret", traits: [.interruptReturn, .far]),
        Sample(hex: "48cf", address: 0, mode: .long64, text: "iretq", traits: [.interruptReturn, .far]),
        Sample(hex: "cd13", address: 0, mode: .real16, text: "int 0x13", traits: .interrupt),
        Sample(hex: "cc", address: 0, mode: .protected32, text: "int3", traits: .interrupt),
        Sample(hex: "f4", address: 0, mode: .real16, text: "hlt", traits: [.halt, .privileged]),
        Sample(hex: "8ed8", address: 0, mode: .real16, text: "mov ds, ax", traits: .writesSegment),
        Sample(hex: "1f", address: 0, mode: .real16, text: "pop ds", traits: .writesSegment),
        Sample(hex: "8cd8", address: 0, mode: .real16, text: "mov ax, ds"),
        Sample(hex: "e6e9", address: 0, mode: .real16, text: "out 0xe9, al", traits: .portIO),
        Sample(
            hex: "ebfe", address: 0x7C00, mode: .real16, text: "jmp 0x7c00", traits: .jump,
            target: .near(0x7C00)),
        // 16-bit targets wrap in their segment.
        Sample(
            hex: "e90001", address: 0xFF80, mode: .real16, text: "jmp 0x83", traits: .jump,
            target: .near(0x83)),
        Sample(
            hex: "7405", address: 0xFFFE, mode: .real16, text: "jz 0x5", traits: .conditional,
            target: .near(5)),
        Sample(
            hex: "66e900010000", address: 0xFF80, mode: .real16, text: "jmp 0x10086", traits: .jump,
            target: .near(0x1_0086)),
        Sample(
            hex: "e2fe", address: 0x7C00, mode: .real16, text: "loop 0x7c00", traits: [.conditional, .loop],
            target: .near(0x7C00)),
        Sample(
            hex: "67e305", address: 0, mode: .real16, text: "jecxz 0x8", traits: .conditional,
            target: .near(8)),
        Sample(
            hex: "9a34120020", address: 0, mode: .real16, text: "call far 0x2000:0x1234",
            traits: [.call, .far], target: .far(SegmentedAddress(selector: 0x2000, offset: 0x1234))),
        Sample(
            hex: "ff1e3412", address: 0, mode: .real16, text: "call far [0x1234]",
            traits: [.call, .far, .indirect]),
        Sample(hex: "ffe0", address: 0, mode: .long64, text: "jmp rax", traits: [.jump, .indirect]),
        Sample(
            hex: "66ea000010000800", address: 0, mode: .real16, text: "jmp far 0x0008:0x00100000",
            traits: [.jump, .far], target: .far(SegmentedAddress(selector: 8, offset: 0x10_0000))),
        Sample(
            hex: "e8f9ffffff", address: 0xFFFF_FFFF_8100_0002, mode: .long64,
            text: "call 0xffffffff81000000", traits: .call, target: .near(0xFFFF_FFFF_8100_0000)),
        Sample(
            hex: "e8fbffffff", address: 0, mode: .protected32, text: "call 0x0", traits: .call,
            target: .near(0)),
        Sample(
            hex: "ebf0", address: 4, mode: .protected32, text: "jmp 0xfffffff6", traits: .jump,
            target: .near(0xFFFF_FFF6)),
        Sample(
            hex: "66e8f0ffffff", address: 0xFFFF_FFFF_8100_0000, mode: .long64,
            text: "call 0xffffffff80fffff6", traits: .call, target: .near(0xFFFF_FFFF_80FF_FFF6)),
        Sample(
            hex: "66e8f0ff", address: 0x1234_0000, mode: .protected32, text: "call 0xfff4", traits: .call,
            target: .near(0xFFF4)),
        Sample(hex: "c7f8f0ffffff", address: 0, mode: .protected32, text: "xbegin 0xfffffff6"),
        Sample(hex: "0f05", address: 0, mode: .long64, text: "syscall", traits: .systemCall),
        Sample(
            hex: "480f07", address: 0, mode: .long64, text: "sysret", traits: [.systemReturn, .privileged]),
        Sample(hex: "0faa", address: 0, mode: .protected32, text: "rsm", traits: .systemReturn),
        Sample(hex: "488b0510000000", address: 0x1000, mode: .long64, text: "mov rax, [0x1017]"),
        Sample(hex: "65488b042528000000", address: 0, mode: .long64, text: "mov rax, gs:[0x28]"),
        // One byte, three meanings.
        Sample(hex: "40", address: 0, mode: .real16, text: "inc ax"),
        Sample(hex: "40", address: 0, mode: .protected32, text: "inc eax"),
        Sample(hex: "b8001234", address: 0, mode: .compatibility16, text: "mov ax, 0x1200"),
        Sample(hex: "83c4f8", address: 0, mode: .compatibility32, text: "add esp, 0xfffffff8"),
        Sample(hex: "0f00d8", address: 0, mode: .protected16, text: "ltr ax", traits: .privileged),
    ]

    @Test(arguments: samples) func decodes(sample: Sample) {
        let input = bytes(sample.hex)
        let found = Disassembler().decode(input + [0x90], at: sample.address, sample.mode)
        #expect(found.text == sample.text)
        #expect(found.traits == sample.traits)
        #expect(found.target == sample.target)
        // "mov ax, 0x1200" is followed by a byte that is not its own.
        #expect(found.bytes == Array(input.prefix(found.length)))
        #expect(found.length == (sample.hex == "b8001234" ? 3 : input.count))
        #expect(found.validity == .valid)
        #expect(sample.text.contains(found.mnemonic) || found.traits.contains(.far))
        let plain = Disassembler().decode(input, at: sample.address, sample.mode, formatted: false)
        #expect(plain.text == "")
        #expect(plain.traits == found.traits)
        #expect(plain.memory == found.memory)
    }

    @Test(
        arguments: [("cd80", 0x80 as UInt8?), ("cc", 3), ("f1", 1), ("ce", 4), ("90", nil), ("0f0b", nil)]
            as [(String, UInt8?)])
    func vectors(hex: String, vector: UInt8?) {
        #expect(Disassembler().decode(bytes(hex), at: 0, .protected32).interruptVector == vector)
    }

    @Test(
        arguments: [
            // What the mode does not have: LTR in real mode, PUSHA in 64-bit mode, LOCK on a NOP.
            ("0f00d8", DecodeMode.real16), ("60", .long64), ("f090", .protected32),
            // More than fourteen prefixes leave no room for an opcode.
            ("66666666666666666666666666666690", .protected32),
        ] as [(String, DecodeMode)])
    func bad(hex: String, mode: DecodeMode) {
        let found = Disassembler().decode(bytes(hex + "9090"), at: 0x10, mode)
        #expect(found.validity == .bad)
        #expect(found.text == "(bad)")
        #expect(found.bytes == [bytes(hex)[0]])
        #expect(found.next == 0x11)
    }

    @Test(arguments: samples) func truncatedIsNotBad(sample: Sample) {
        let input = bytes(sample.hex)
        guard input.count > 1, sample.hex != "b8001234" else { return }
        let found = Disassembler().decode(input.dropLast(), at: sample.address, sample.mode)
        #expect(found.validity == .truncated)
        #expect(found.text == "(truncated)")
        #expect(found.length == input.count - 1)
    }

    @Test func noBytes() {
        let found = Disassembler().decode([], at: 5, .real16)
        #expect(found.validity == .truncated)
        #expect(found.length == 0)
        #expect(found.next == 5)
    }

    @Test func blocks() {
        // cli; xor ax, ax; mov ds, ax; a byte short of mov sp, 0x7c00
        let found = Disassembler().decode(bytes("fa 31c0 8ed8 bc00"), at: 0x7C00, .real16, count: 10)
        #expect(found.map(\.text) == ["cli", "xor ax, ax", "mov ds, ax", "(truncated)"])
        #expect(found.map(\.address) == [0x7C00, 0x7C01, 0x7C03, 0x7C05])
        #expect(Disassembler().decode(bytes("9090"), at: 0, .real16, count: 1).count == 1)
        #expect(
            Disassembler().decode(bytes("9090"), at: 0xFFFF, .real16, count: 2).map(\.address) == [0xFFFF, 0])
        #expect(Disassembler().decode(bytes("9090"), at: 0, .real16, count: 0).isEmpty)
    }

    @Test func modes() {
        var special = SpecialRegisters()
        var registers = GeneralRegisters()
        #expect(DecodeMode(registers, special) == .real16)
        special.cs.attributes.isBig = true
        #expect(DecodeMode(registers, special) == .protected32)
        special.cs.attributes.isBig = false
        special.cr0 = [.pe]
        #expect(DecodeMode(registers, special) == .protected16)
        registers.rflags.insert(.vm)
        #expect(DecodeMode(registers, special) == .real16)
        registers.rflags.remove(.vm)
        special.efer = [.lme, .lma]
        #expect(DecodeMode(registers, special) == .compatibility16)
        special.cs.attributes.isLong = true
        #expect(DecodeMode(registers, special) == .long64)
    }

    /// Whatever the bytes, something of 1 to 15 bytes comes out, the same with and without text.
    @Test(arguments: DecodeMode.allCases) func randomBytes(mode: DecodeMode) {
        var state: UInt64 = 0x1234_5678_9ABC_DEF1
        let file = RegisterFile()
        for _ in 0..<20_000 {
            var window: [UInt8] = []
            for _ in 0..<2 {
                // xorshift64
                state ^= state << 13
                state ^= state >> 7
                state ^= state << 17
                for byte in 0..<8 { window.append(UInt8(truncatingIfNeeded: state >> UInt64(byte * 8))) }
            }
            let found = Disassembler().decode(window, at: state, mode)
            #expect((1...15).contains(found.length))
            #expect(found.bytes == Array(window.prefix(found.length)))
            #expect(!found.text.isEmpty)
            // Sixteen bytes are never too few.
            #expect(found.validity != .truncated)
            for operand in found.memory { _ = operand.linear(in: file) }
            _ = found.willBranch(file)
        }
    }
}
