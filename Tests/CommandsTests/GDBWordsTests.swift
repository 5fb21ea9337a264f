import Debugger
import Expressions
import Testing
import X86

@testable import Commands

/// Commands of GDB's name do what GDB's manual says, or refuse what they do not do.
@Suite("GDB's words") struct GDBWordsTests {
    typealias Guest = BreakpointCommandTests.Guest

    /// CS begins at 7C00 and SS at 9000, as of a loader that runs at 07C0:0000 or has descriptors of its own.
    private func moved() throws -> Guest {
        let guest = try Guest()
        try guest.debugger.setRegister("cs.base", to: 0x7C00)
        try guest.debugger.setRegister("rip", to: 1)
        try guest.debugger.setRegister("ss.base", to: 0x9000)
        // The upper half of ESP is no part of a stack of 16 bits.
        try guest.debugger.setRegister("rsp", to: 0x5_0100)
        try guest.debugger.setRegister("rbp", to: 0x102)
        try guest.debugger.writeMemory(.physical(0x9100), [0x34, 0x12, 0x78, 0x56])
        return guest
    }

    @Test func theInstructionPointerIsAnAddressInCS() throws {
        let guest = try moved()
        #expect(try guest.text("x/i $pc")[0].contains("inc bx"))
        #expect(try guest.text("u/1 $rip + 1")[0].contains("mov"))
        #expect(try guest.text("b *$pc+1") == ["Breakpoint 1 at 0x7c02 (debug register)"])
        #expect(try guest.text("tb $eip + 4")[0].contains("at 0x7c05 "))
        #expect(try guest.text("p *(u8*)$pc")[0].hasPrefix("$1 = 67"))
        #expect(try guest.text("p $pc + 1") == ["$2 = 2  0x2  (linear 0x7c02)"])
        // As a number it is the register, as conditions have it.
        #expect(try guest.text("p $pc == 1")[0].hasPrefix("$3 = 1"))
        #expect(try guest.text("c")[0].hasPrefix("Breakpoint 1."))
    }

    @Test func theStackPointerIsAnAddressInSS() throws {
        let guest = try moved()
        #expect(try guest.text("x/2xh $sp") == ["0x9100: 0x1234 0x5678"])
        #expect(try guest.text("p/x *(u16*)($bp - 2)") == ["$1 = 0x1234"])
        #expect(try guest.text("p/x *(u16*)$sp + 1") == ["$2 = 0x1235"])
        // A distance is a number, and another segment is what it says.
        #expect(try guest.text("p $bp - $sp")[0].contains("linear") == false)
        #expect(try guest.text("x/1xh ds:0x9100") == ["ds:0x9100: 0x1234"])
    }

    @Test func aFlatSegmentChangesNothing() throws {
        let guest = try Guest()
        #expect(try guest.text("p $pc")[0].contains("linear") == false)
        #expect(try guest.text("x/xh $pc")[0].hasPrefix("0x7c00: "))
    }

    @Test(
        "watch takes what the expression names",
        arguments: [
            ("watch *(int*)0x9500", "0x9500, 4 bytes"), ("watch *0x9500", "0x9500, 4 bytes"),
            ("watch *(u32*)(ds:0x9010)", "ds:0x9010, linear 0x9010, 4 bytes"),
            ("watch {u16}0x9500", "0x9500, 2 bytes"), ("watch w:0x9500", "0x9500, 2 bytes"),
            ("watch w *(u64*)($sp - 8)", "0x90f8, 8 bytes"), ("watch ((u16*)0x9500)[3]", "0x9506, 2 bytes"),
            ("watch 0x9500", "0x9500, 1 byte"), ("watch 0x9500 12", "0x9500, 12 bytes"),
            ("watch $sp 2", "0x9100, 2 bytes"), ("watch ($sp + 2)", "0x9102, 1 byte"),
        ])
    func watched(_ line: String, _ expected: String) throws {
        #expect(try moved().text(line)[0].hasPrefix("Watchpoint 1 at \(expected) ("), "\(line)")
    }

    @Test func watchRefusesWhatItDoesNotMean() throws {
        let guest = try moved()
        let register = try guest.failure("watch $ax")
        #expect(register.message.contains("a register is not watched") && register.column == 6)
        #expect(try guest.failure("watch *(int*)0x500 2").message.contains("4 bytes"))
        #expect(guest.debugger.breakpoints.isEmpty)
    }

    @Test func ranges() throws {
        let guest = try Guest()
        #expect(try guest.text("disas 0x7c00,+5").count == 3)
        #expect(try guest.text("disas 0x7c00, 0x7c02").count == 2)
        #expect(try guest.text("u *0x7c00, 0:7c06").count == 4)
        #expect(try guest.failure("disas 0x7c02, 0x7c00").message.contains("after the start"))
        #expect(try guest.failure("disas/5 0x7c00, +2").message.contains("range"))
        #expect(try guest.failure("disas 0x7c00, +0").column == 14)
    }

    @Test func linesAreCountedOnlyWhereThereAreSome() throws {
        let guest = try Guest()
        for line in ["b +1", "tb -2"] {
            let error = try guest.failure(line)
            #expect(
                error.message.contains("counts source lines") && error.remedy?.contains("$pc + N") == true)
        }
        // An expression is one.
        #expect(try guest.text("b -1 + 0x7c02")[0].contains("0x7c01"))
    }

    @Test func continueNPassesOverHits() throws {
        let guest = try Guest()
        #expect(try guest.failure("c 3").message.contains("it is at none"))
        try guest.text("b 0x7c01")
        try guest.text("c")
        #expect(try guest.text("c 3")[0].hasPrefix("Breakpoint 1."))
        #expect(try guest.debugger.breakpoint(1).hits == 4)
        #expect(try guest.debugger.registerValue("ax").bits == 4)
        #expect(try guest.failure("c 0").column == 2)
        #expect(try guest.failure("c 1 2").message.contains("expected"))
    }

    @Test func breakpointsByRange() throws {
        let guest = try Guest()
        for address in ["0x9000", "0x9001", "0x9002", "0x9003"] { try guest.text("b \(address)") }
        #expect(try guest.text("disable 2-3") == ["Disabled 2 breakpoints."])
        #expect(try guest.text("delete 1-3 4") == ["Deleted 4 breakpoints."])
        #expect(try guest.failure("delete 1-3").message.contains("no breakpoint"))
    }
}
