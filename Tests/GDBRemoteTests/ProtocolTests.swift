import Commands
import DebugTarget
import Debugger
import TargetConformance
import Testing
import X86

@testable import GDBRemote

/// Every packet with its reply, and with what it refuses, on a guest without KVM.
@Suite struct ProtocolTests {
    @Test func whatBothSidesCan() throws {
        let client = try FakeClient()
        let text = client.ask("qSupported:multiprocess+;swbreak+;hwbreak+;exec-events+;xmlRegisters=i386")
        for feature in [
            "PacketSize=20000", "QStartNoAckMode+", "qXfer:features:read+", "qXfer:threads:read+",
            "qXfer:memory-map:read+", "swbreak+", "hwbreak+", "exec-events+", "ConditionalBreakpoints+",
        ] {
            #expect(text.split(separator: ";").contains { $0 == feature }, "\(feature)")
        }
        // What the client does not know is not offered.
        #expect(try !FakeClient().ask("qSupported:swbreak+").contains("exec-events"))
        #expect(try !FakeClient().ask("qSupported").contains("swbreak"))
    }

    /// Requests that are not known, among them those that ask for time to run backwards, get an empty reply.
    @Test(
        arguments: [
            "vMustReplyEmpty", "bs", "bc", "vFile:open:2f,0,0", "vStopped", "qOffsets", "qTStatus", "QTro",
            "A",
            "B", "d", "r", "t", "_M10,rw", "jFoo", "qL", "Z5,7c00,1", "z7,7c00,1", "qXfer:auxv:read::0,100",
            "qXfer:features:write:target.xml:0:00", "", "QDisableRandomization:1",
        ])
    func unknownRequests(_ request: String) throws {
        let client = try FakeClient()
        client.send(Array(request.utf8))
        #expect(client.replies() == [""])
    }

    @Test(
        arguments: [
            ("m", "malformed"), ("mzz,4", "malformed"), ("m7c00", "malformed"), ("m7c00,4x", "malformed"),
            ("M7c00,2:90", "announced"), ("M7c00,2", "malformed"), ("M7c00,1:9", "malformed"),
            ("X7c00,5:ab", "announced"), ("Xzz", "malformed"), ("M200000,1:90", "no memory"),
            ("p", "malformed"), ("pffff", "there is no register"), ("p0x", "malformed"), ("P0", "malformed"),
            ("P0=12", "hexadecimal digits"), ("P0=zzzzzzzz", "hexadecimal digits"),
            ("G00", "bytes of registers"),
            ("gx", "malformed"), ("Hg7", "there is no thread"), ("Hx1", "malformed"), ("Hgz", "malformed"),
            ("T9", "there is no thread"), ("T", "malformed"), ("Z0", "malformed"), ("Z0,7c00", "malformed"),
            ("Zx,1,1", "malformed"), ("z0,9999,1", "no breakpoint"), ("Z0,7c00,1;Xzz,", "malformed"),
            ("Z0,7c00,1;X1,ff", "cannot be done"), ("Z0,7c00,1;cmds:0,X1,27", "conditions"),
            ("Z2,7c00,ffffffffffffffff", "cannot be watched"), ("Z2,7c00,0", "cannot be watched"),
            ("Z2,fff00000,4", "watched"), ("vCont;", "malformed"), ("vCont;x", "malformed"),
            ("vCont;c:9", "there is no thread"), ("vCont;r1", "malformed"),
            ("vCont;C", "malformed"), ("cxyz", "malformed"), ("S", "malformed"), ("vAttach;1", "one guest"),
            ("vRun;", "another program runs the guest"),
            ("qXfer:features:read:other.xml:0,100", "there is no features"),
            ("qXfer:features:read:target.xml:fffffff,100", "beyond"), ("qXfer:threads:read::x", "malformed"),
            ("qRcmd,zz", "malformed"), ("qThreadExtraInfo,9", "there is no thread"),
            ("qCRC:7c00", "malformed"),
            ("qCRC:200000,10", "cannot be read"), ("qSearch:memory:0;10", "malformed"),
            ("qSearch:memory:0;10;", "malformed"), ("QNonStop:1", "all vCPUs stop"),
            ("Qqemu.sstep=0", "modes of stepping"), ("Qqemu.sstep=5", "modes of stepping"),
            ("Qqemu.PhyMemMode:2", "malformed"), ("qMemoryRegionInfo:", "malformed"),
            ("qThreadStopInfo", "malformed"),
        ])
    func refusals(_ request: String, _ words: String) throws {
        let client = try FakeClient()
        let reply = client.ask(request)
        // Memory has a number alone: older clients would take words for bytes.
        if request.hasPrefix("m"), words == "malformed" {
            #expect(reply.hasPrefix("E"))
        } else {
            #expect(reply.hasPrefix("E.") && reply.contains(words), "\(request): \(reply)")
        }
        // It is as it was.
        #expect(client.ask("qC") == "QC1")
        #expect(client.debugger.breakpoints.isEmpty)
    }

    // MARK: registers and memory

    @Test func registersOf16BitCode() throws {
        let client = try FakeClient()
        try client.debugger.setRegister("cs.base", to: 0xF0000)
        try client.debugger.setRegister("rip", to: 0xFFF0)
        try client.debugger.setRegister("eax", to: 0x1234_5678)
        #expect(client.ask("qXfer:features:read:target.xml:0,1000").contains("<architecture>i8086<"))
        let block = client.ask("g")
        #expect(block.count == 128)
        #expect(block.hasPrefix("78563412"))
        // The place is linear.
        #expect(block.dropFirst(64).hasPrefix("f0ff0f00"))
        #expect(client.ask("p8") == "f0ff0f00")
        // Setting it sets IP.
        #expect(client.ask("P8=10000f00") == "OK")
        #expect(client.debugger.selected.registers.rip == 0x10)
        #expect(client.ask("P8=0000ff00").hasPrefix("E."))
        #expect(try client.monitor("pc offset").contains("IP alone"))
        #expect(client.ask("p8") == "10000000")
        #expect(try client.monitor("pc flat").contains("linear"))
        #expect(try client.monitor("pc sideways").contains("error"))
    }

    @Test func oneLayoutForAllModes() throws {
        let client = try FakeClient(options: RemoteOptions(layout: .long64))
        #expect(client.ask("qXfer:features:read:target.xml:0,1000").contains("<architecture>i386:x86-64<"))
        #expect(client.ask("g").count == 328)
        #expect(client.ask("p10") == "007c000000000000")
    }

    @Test func allRegistersAreReadAndSet() throws {
        let client = try FakeClient()
        let layout = client.remote.layout
        for register in layout.registers {
            let value = client.ask("p" + String(register.number, radix: 16))
            #expect(value.count == register.size * 2, "\(register.name)")
            let isKnown = !value.hasPrefix("x")
            // What is set to what it is, is as it was.
            if isKnown {
                let reply = client.ask("P\(String(register.number, radix: 16))=\(value)")
                // A selector of `tr` or `ldtr` is loaded from a table, and there is none.
                let isLoaded = ["tr", "ldtr"].contains(register.name)
                #expect(reply == "OK" || isLoaded && reply.hasPrefix("E."), "\(register.name): \(reply)")
                #expect(client.ask("p" + String(register.number, radix: 16)) == value, "\(register.name)")
            }
        }
        let block = client.ask("g")
        #expect(client.ask("G" + "01000000" + block.dropFirst(8)) == "OK")
        #expect(client.debugger.selected.registers.rax == 1)
    }

    @Test func floatingPoint() throws {
        let client = try FakeClient()
        let layout = client.remote.layout
        func number(_ name: String) throws -> String {
            String(try #require(layout.registers.first { $0.name == name }).number, radix: 16)
        }
        #expect(try client.ask("P\(number("st3"))=0102030405060708090a") == "OK")
        #expect(try client.ask("P\(number("xmm1"))=000102030405060708090a0b0c0d0e0f") == "OK")
        #expect(try client.ask("P\(number("mxcsr"))=a01f0000") == "OK")
        // Physical registers 0 and 7 are in use.
        #expect(try client.ask("P\(number("ftag"))=fc3f0000") == "OK")
        #expect(try client.ask("P\(number("fiseg"))=10000000") == "OK")
        #expect(try client.ask("P\(number("fioff"))=20000000") == "OK")
        let registers = try client.debugger.fpu()
        #expect(registers.st[3][9] == 10)
        #expect(registers.xmm[1][15] == 15)
        #expect(registers.mxcsr == 0x1FA0)
        #expect(registers.tagWord == 0x81)
        #expect(registers.lastInstruction == 0x10_0000_0020)
    }

    @Test func memory() throws {
        let client = try FakeClient([1, 2, 3, 4])
        #expect(client.ask("m7c00,4") == "01020304")
        #expect(client.ask("m7c00,0") == "")
        #expect(client.ask("M7c01,2:aabb") == "OK")
        #expect(client.ask("m7c00,4") == "01aabb04")
        client.send(Array("X7c00,3:".utf8) + [0x7D, 0x23, 0])
        #expect(client.replies() == ["OK"])
        #expect(client.ask("m7c00,4") == "7d230004")
        #expect(client.ask("X7c00,0:") == "OK")
        client.send(Array("x7c00,4".utf8))
        #expect(client.bytes() == [[UInt8(ascii: "b"), 0x7D, 0x23, 0, 4]])
        // What is there of a range that goes beyond the end is given; beyond it, nothing.
        #expect(client.ask("mffffe,8") == "0000")
        #expect(client.ask("m100000,8") == "E0e")
        #expect(client.ask("x100000,8") == "E0e")
        // As much as fits.
        #expect(client.ask("m0,ffffffffffffffff").count == RemoteSession.packetSize)
        #expect(client.ask("qCRC:7c00,4") == "C\(String(crc([0x7D, 0x23, 0, 4]), radix: 16))")
        client.send(Array("qSearch:memory:7000;1000;".utf8) + [0x23, 0])
        #expect(client.replies() == ["1,7c01"])
        #expect(client.ask("qSearch:memory:0;100;zz") == "0")
    }

    /// By the definition in the manual, a bit at a time.
    private func crc(_ bytes: [UInt8]) -> UInt32 {
        var crc: UInt32 = 0xFFFF_FFFF
        for byte in bytes {
            for bit in (0..<8).reversed() {
                let top = crc >> 31 ^ UInt32(byte >> UInt8(bit) & 1)
                crc = crc << 1 ^ (top == 1 ? 0x04C1_1DB7 : 0)
            }
        }
        return crc
    }

    @Test func physicalMemory() throws {
        let client = try FakeClient()
        #expect(client.ask("qqemu.PhyMemMode") == "0")
        #expect(client.ask("Qqemu.PhyMemMode:1") == "OK")
        #expect(client.ask("qqemu.PhyMemMode") == "1")
        #expect(client.ask("m7c00,2") == "9090")
    }

    /// What GDB reads has no patch in it, whatever the breakpoint is done by.
    @Test func memoryIsWithoutPatches() throws {
        let client = try FakeClient([UInt8](repeating: 0x90, count: 64))
        for place in 0..<20 { #expect(client.ask("Z0,\(String(0x7C00 + place * 2, radix: 16)),1") == "OK") }
        #expect(client.debugger.breakpoints.contains { $0.mechanism.isPatch })
        #expect(client.ask("m7c00,40") == String(repeating: "90", count: 64))
    }

    // MARK: threads

    @Test func threadsAreVCPUs() throws {
        let client = try FakeClient(vcpus: 3)
        #expect(client.ask("qfThreadInfo") == "m1,2,3")
        #expect(client.ask("qsThreadInfo") == "l")
        #expect(client.ask("T3") == "OK")
        #expect(client.text(client.ask("qThreadExtraInfo,2")) == "vCPU 1 [stopped]")
        #expect(
            client.ask("qXfer:threads:read::0,1000").contains("<thread id=\"3\">vCPU 2 [stopped]</thread>"))
        try client.debugger.setRegister("eax", to: 0x55, vcpu: 2)
        #expect(client.ask("Hg3") == "OK")
        #expect(client.ask("p0") == "55000000")
        #expect(client.ask("Hg0") == "OK")
        #expect(client.ask("p0") == "55000000")
    }

    @Test func aTransferInParts() throws {
        let client = try FakeClient()
        var whole = ""
        while true {
            let part = client.ask("qXfer:features:read:target.xml:\(String(whole.utf8.count, radix: 16)),64")
            whole += part.dropFirst()
            guard part.hasPrefix("m") else {
                #expect(part.hasPrefix("l"))
                break
            }
            #expect(part.utf8.count == 101)
        }
        #expect(whole == client.remote.layout.targetDescription)
        #expect(client.ask("qXfer:memory-map:read::0,1000").contains("type=\"ram\""))
    }

    // MARK: monitor

    @Test func commandsOfKvmscope() throws {
        let client = try FakeClient()
        #expect(try client.monitor("print 6 * 7").contains("42"))
        #expect(try client.monitor("nonsense").contains("error: there is no command `nonsense`"))
        #expect(try client.monitor("quit").contains("`detach` or `kill`"))
        #expect(try client.monitor("info stops").contains("created") || !client.monitor("info stops").isEmpty)
        #expect(try client.monitor("step 2").contains("register-cache"))
        #expect(client.debugger.selected.registers.rip == 0x7C02)
        // Long output comes in pieces.
        #expect(try client.monitor("x/20000xb 0").count > 60_000)
    }

    @Test func whatQEMUsUsersAsk() throws {
        let client = try FakeClient()
        #expect(client.ask("qqemu.sstepbits") == "ENABLE=1,NOIRQ=2")
        #expect(client.ask("qqemu.sstep") == "0x3")
        #expect(client.ask("Qqemu.sstep=1") == "OK")
        #expect(client.debugger.takesInterruptsWhileStepping)
        #expect(client.ask("qqemu.sstep") == "0x1")
        #expect(client.ask("Qqemu.sstep=0x3") == "OK")
        #expect(!client.debugger.takesInterruptsWhileStepping)
    }

    @Test func whatLLDBAsks() throws {
        let client = try FakeClient(vcpus: 2)
        #expect(client.ask("QThreadSuffixSupported") == "OK")
        #expect(client.ask("QEnableErrorStrings") == "OK")
        #expect(client.ask("QListThreadsInStopReply") == "OK")
        #expect(client.ask("qXfer:features:read:target.xml:0,1000").contains("i386:x86-64"))
        #expect(client.ask("qHostInfo").contains("ptrsize:8;"))
        #expect(client.ask("qProcessInfo").hasPrefix("pid:1;"))
        try client.debugger.setRegister("rbx", to: 7, vcpu: 1)
        #expect(client.ask("p1;thread:2;") == "0700000000000000")
        #expect(client.ask("p1;thread:1;") == "0000000000000000")
        #expect(client.ask("P1=0900000000000000;thread:2;") == "OK")
        #expect(client.ask("g;thread:2;").dropFirst(16).hasPrefix("09"))
        let failed = client.ask("p1;thread:7;")
        #expect(failed.hasPrefix("E03;") && client.text(failed.dropFirst(4)).contains("no thread 7"))
        #expect(client.ask("x0,0") == "OK")
        client.send(Array("x7c00,2".utf8))
        #expect(client.bytes() == [[0x90, 0x90]])
        #expect(client.ask("qMemoryRegionInfo:7c00") == "start:7000;size:1000;permissions:rwx;")
        #expect(client.ask("qMemoryRegionInfo:200000") == "start:200000;size:1000;")
        #expect(client.ask("jThreadsInfo").contains("\"tid\":2"))
        #expect(client.ask("qThreadStopInfo1").contains("reason:"))
        #expect(client.ask("?").contains("threads:1,2;"))
    }

    @Test func aReplyIsSentAgainAndADamagedPacketAskedFor() throws {
        let client = try FakeClient()
        client.remote.take(.packet(Array("qC".utf8)))
        let first = client.raw()
        #expect(first == Array("+$QC1#c5".utf8))
        client.remote.take(.resend)
        #expect(client.raw() == Array("$QC1#c5".utf8))
        client.remote.take(.damaged)
        #expect(client.raw() == Array("-".utf8))
        #expect(client.ask("QStartNoAckMode") == "OK")
        client.remote.take(.packet(Array("qC".utf8)))
        #expect(client.raw() == Array("$QC1#c5".utf8))
        client.remote.take(.damaged)
        client.remote.take(.resend)
        #expect(client.raw().isEmpty)
        client.remote.take(.tooLong)
        #expect(client.replies()[0].contains("more than"))
    }
}
