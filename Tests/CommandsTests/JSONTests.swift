import Testing

@testable import Commands

/// The records as they are promised: a change here is a change for every program that reads them.
@Suite struct JSONTests {
    @Test(
        arguments: [
            (
                "print 1 + 1",
                #"{"command":"print 1 + 1","ok":true,"result":{"isSigned":true,"number":1,"text":"2","value":"0x2","width":64}}"#
            ),
            (
                "x/2xh 0:7c00",
                #"{"command":"x/2xh 0:7c00","ok":true,"result":{"address":"0000:7c00","format":"x","unit":2,"unreadable":[],"values":["0x48b0","0xe9e6"]}}"#
            ),
            (
                "break 0x7c04",
                #"{"command":"break 0x7c04","ok":true,"result":{"breakpoint":{"address":"0x7c04","commands":[],"hits":0,"ignore":0,"isEnabled":true,"isTemporary":false,"kind":"linear","linear":"0x7c04","mechanism":"debug register","number":1}}}"#
            ),
            (
                "set $rax = 1",
                #"{"command":"set $rax = 1","ok":true,"result":{"registers":[{"name":"rax","value":"0x1"}],"vcpu":0}}"#
            ),
            (
                "u/1",
                #"{"command":"u/1","ok":true,"result":{"instructions":[{"bytes":"b048","cs":"0x0","hasBreakpoint":false,"ip":"0x7c00","isNext":true,"linear":"0x7c00","text":"mov al, 0x48"}],"vcpu":0}}"#
            ),
            (
                "print-stack 1",
                #"{"command":"print-stack 1","ok":true,"result":{"vcpu":0,"width":2,"words":[{"linear":"0x7c00","offset":"0x7c00","value":"0x48b0"}]}}"#
            ),
            (
                "dreg",
                ##"{"command":"dreg","ok":true,"result":{"enabled":[],"registers":[{"isChanged":false,"name":"dr0","value":"0x0"},{"isChanged":false,"name":"dr1","value":"0x0"},{"isChanged":false,"name":"dr2","value":"0x0"},{"isChanged":false,"name":"dr3","value":"0x0"},{"flags":[],"isChanged":false,"name":"dr6","value":"0xffff0ff0"},{"flags":[],"isChanged":false,"name":"dr7","value":"0x400"}],"vcpu":0}}"##
            ),
        ])
    func exactRecords(_ line: String, _ expected: String) throws {
        #expect(try Driver().json(line) == expected)
    }

    @Test func aStopWithoutItsTimes() throws {
        let driver = try Driver()
        let record = try driver.json("step")
        let stable = record.replacing(/"elapsedNanoseconds":\d+/, with: #""elapsedNanoseconds":0"#)
        #expect(
            stable
                == #"{"command":"step","ok":true,"result":{"elapsedNanoseconds":0,"exits":0,"mode":"real","number":1,"passedHalt":false,"position":{"bytes":"e6e9","cs":"0x0","instruction":"out 0xe9, al","ip":"0x7c02","linear":"0x7c02","physical":"0x7c02"},"reason":{"kind":"step","text":"Stepped 1 instruction."},"steps":1,"vcpu":0}}"#
        )
    }

    @Test func whatCannotBeReadIsNull() throws {
        #expect(try Driver().json("xp/2xb 0xfffff").contains(#""values":["0x0",null]"#))
    }

    @Test func registersAreWholeWhateverIsShown() throws {
        let record = try Driver().json("regs")
        for name in ["rax", "r8", "r15", "rip", "rflags"] { #expect(record.contains("\"\(name)\":\"0x")) }
        #expect(record.contains(#""mode":"real""#))
        #expect(record.contains(#""cs":"0x0""#))
    }

    @Test func exitsWithCountsAndTimes() throws {
        let driver = try Driver()
        try driver.output("c")
        let record = try driver.json("info exits 10")
        #expect(record.contains(#""count":2,"guestNanoseconds":3000"#))
        #expect(
            record.contains(
                #"{"averageNanoseconds":1500,"count":1,"exit":"IO 0xe9 out","guestNanoseconds":2000,"maximumNanoseconds":1500,"rate":"#
            ))
        #expect(
            record.contains(
                #""exit":"IO out 0xe9 1 byte 0x48","guestNanoseconds":2000,"handlingNanoseconds":1500"#))
    }

    @Test(
        arguments: [
            "sregs", "creg", "fpu", "xmm", "vcpu list", "vcpu info", "info console", "help", "help x",
            "history",
            "info", "apropos memory", "blist", "x/2s 0x7c00", "stop", "cpu 0",
        ])
    func everyOutputIsOneLineOfJSON(_ line: String) throws {
        let record = try Driver().json(line)
        #expect(record.hasPrefix("{\"command\":\"\(line)\",\"ok\":true,\"result\":{"))
        #expect(record.hasSuffix("}}"))
        #expect(!record.contains("\n"))
    }

    @Test func failures() throws {
        let error = try Driver().failure("print 1 +* $rxa")
        let record = JSONRecord.line(command: "print 1 +* $rxa", error: error)
        #expect(record.hasPrefix(#"{"command":"print 1 +* $rxa","error":{"column":"#))
        #expect(record.hasSuffix(#"},"ok":false}"#))
    }
}
