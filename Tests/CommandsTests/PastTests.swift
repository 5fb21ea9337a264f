import Debugger
import Testing

@testable import Commands

@Suite struct PastCommandTests {
    @Test func anEarlierStopIsRevisited() throws {
        let driver = try Driver([0xB0, 0x48, 0xB0, 0x49, 0x90])
        try driver.output("step")
        try driver.output("step")
        let back = try driver.text("revisit -")
        #expect(back[0] == "Stop 1, 1 stop ago: edits are refused.")
        #expect(back.contains { $0.contains("0000:7c02") })
        #expect(try driver.text("print $al") == ["0x48"] || driver.text("print/x $al")[0].contains("48"))
        let list = try driver.text("info stops")
        #expect(list.count == 4)
        #expect(list[2].hasPrefix("=>") && list[2].contains("0000:7c02") && list[2].hasSuffix("step"))
        #expect(try driver.failure("set $al = 1").message.contains("past"))
        #expect(try driver.text("revisit 0")[0].hasPrefix("Stop 0, 2 stops ago"))
        #expect(try driver.failure("revisit -").message.contains("not kept"))
        #expect(try driver.text("tfind none")[0] == "Stop 2, the present.")
        #expect(try driver.json("revisit 1").contains("\"isPast\":true"))
    }

    /// Where no screen has looked at anything.
    @Test func aStopShowsItsInstructionAndSaysWhatElseIsNotKept() throws {
        let driver = try Driver([0xB0, 0x48, 0xB0, 0x49, 0x90])
        try driver.output("step")
        let now = try driver.text("step")
        #expect(now.contains { $0.contains("nop") })
        let back = try driver.text("revisit -")
        #expect(back.contains { $0.contains("mov al, 0x49") }, "\(back)")
        let error = try driver.failure("x 0x500").message
        #expect(error.contains("was not looked at then") && !error.contains("no memory"), "\(error)")
        #expect(try driver.failure("x p:0x40000000").message.contains("no memory"))
        #expect(try driver.text("revisit now").contains { $0.contains("nop") })
    }

    @Test func whatIsNoStopIsPointedAt() throws {
        let driver = try Driver()
        let error = try driver.failure("revisit yesterday")
        #expect(error.column == 8)
        #expect(try driver.failure("revisit 99").remedy?.contains("0 to 0") == true)
    }
}
