import Disassembler
import Testing
import X86

@Suite struct OperandTests {
    private func file(_ mode: DecodeMode) -> RegisterFile {
        var file = RegisterFile()
        file.general.rax = 0x1111_2222_0000_0010
        file.general.rbx = 0xFFF0
        file.general.rsi = 0x20
        file.general.rdi = 0x1_0000_0030
        file.general.rsp = 0x8000
        file.general.rbp = 0x9000
        file.special.ds = .real(0x1000)
        file.special.es = .real(0x2000)
        file.special.ss = .real(0x3000)
        file.special.fs.base = 0x7_0000_0000
        file.special.cs = .real(0x4000, code: true)
        if mode == .long64 {
            file.special.cr0 = [.pe, .pg]
            file.special.efer = [.lme, .lma]
            file.special.cs.attributes.isLong = true
        }
        return file
    }

    private func operand(_ hex: String, _ mode: DecodeMode, at address: UInt64 = 0, _ index: Int = 0) throws
        -> MemoryOperand
    {
        let memory = Disassembler().decode(bytes(hex), at: address, mode).memory
        return try #require(memory.indices.contains(index) ? memory[index] : nil)
    }

    @Test(
        arguments: [
            // mov ax, [bx+si+0x7f]: wraps at 64 KiB, then DS.
            ("8b407f", 0x8F as UInt64, 0x1_008F as UInt64, 2),
            // mov ax, [bp-2]: SS.
            ("8b46fe", 0x8FFE, 0x3_8FFE, 2),
            // mov ax, es:[bp-2]
            ("268b46fe", 0x8FFE, 0x2_8FFE, 2),
            // mov eax, [edi] with a 32-bit address: only EDI counts.
            ("66678b07", 0x30, 0x1_0030, 4),
            // mov al, cs:[0x1234]
            ("2ea03412", 0x1234, 0x4_1234, 1),
            // lds bx, [0x1234]
            ("c51e3412", 0x1234, 0x1_1234, 4),
            // xlat: BX + AL
            ("d7", 0x0, 0x1_0000, 1),
        ] as [(String, UInt64, UInt64, Int)])
    func realMode(hex: String, offset: UInt64, linear: UInt64, size: Int) throws {
        let operand = try operand(hex, .real16)
        #expect(operand.offset(in: file(.real16)) == offset)
        #expect(operand.linear(in: file(.real16)) == linear)
        #expect(operand.size == size)
        #expect(operand.isRead)
        #expect(!operand.isWritten)
    }

    @Test func stackSlots() throws {
        // push ax: two bytes below SP.
        let push = try operand("50", .real16)
        #expect(push.isImplicit)
        #expect(push.isWritten)
        #expect(push.linear(in: file(.real16)) == 0x3_7FFE)
        #expect(try operand("9a34120020", .real16).linear(in: file(.real16)) == 0x3_7FFC)
        #expect(try operand("60", .real16).linear(in: file(.real16)) == 0x3_7FF0)
        #expect(try operand("58", .real16).linear(in: file(.real16)) == 0x3_8000)
        #expect(try operand("c3", .real16).linear(in: file(.real16)) == 0x3_8000)
        #expect(try operand("50", .long64).linear(in: file(.long64)) == 0x7FF8)
        // At SP = 0 the slot is at the top of the segment, unless SS is 32 bits wide.
        var wrapped = file(.real16)
        wrapped.general.rsp = 0
        #expect(push.offset(in: wrapped) == 0xFFFE)
        wrapped.special.ss.attributes.isBig = true
        #expect(push.offset(in: wrapped) == 0xFFFF_FFFE)
        // pop [rsp]: the address after the pop.
        #expect(try operand("8f0424", .long64).linear(in: file(.long64)) == 0x8008)
    }

    @Test func stringOperands() throws {
        let instruction = Disassembler().decode(bytes("f3a5"), at: 0, .real16)
        let written = try #require(instruction.memory.first { $0.isWritten })
        let read = try #require(instruction.memory.first { $0.isRead })
        #expect(written.linear(in: file(.real16)) == 0x2_0030)
        #expect(read.linear(in: file(.real16)) == 0x1_0020)
    }

    @Test func longMode() throws {
        // mov rax, [rip+0x10] at 0x1000, 7 bytes long: the register file's own RIP does not matter.
        #expect(try operand("488b0510000000", .long64, at: 0x1000).linear(in: file(.long64)) == 0x1017)
        // DS has no base here; FS has.
        #expect(try operand("488b00", .long64).linear(in: file(.long64)) == 0x1111_2222_0000_0010)
        #expect(try operand("64488b042528000000", .long64).linear(in: file(.long64)) == 0x7_0000_0028)
        // mov eax, [eax]: the address is cut to 32 bits.
        #expect(try operand("678b00", .long64).linear(in: file(.long64)) == 0x10)
        // mov rax, [rbx+rsi*8-8]
        #expect(try operand("488b44f3f8", .long64).linear(in: file(.long64)) == 0xFFF0 + 0x100 - 8)
    }

    @Test func addressesWithoutAnAccess() throws {
        let lea = try operand("488d4c8d10", .long64)
        #expect(lea.isAddressOnly)
        #expect(!lea.isRead)
        #expect(lea.offset(in: file(.long64)) == 0x9010)
        // vpgatherdd xmm0, [rax+xmm1*4], xmm2
        let gather = try operand("c4e269900488", .long64)
        #expect(gather.hasVectorIndex)
        #expect(gather.offset(in: file(.long64)) == nil)
    }

    @Test func readModifyWrite() throws {
        let add = try operand("0107", .real16)
        #expect(add.isRead)
        #expect(add.isWritten)
        #expect(!add.isImplicit)
    }
}
