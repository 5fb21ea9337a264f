import Commands
import DebugTarget
import Debugger
import TargetConformance
import Testing
import X86

@testable import GDBRemote

/// Resuming, and what stops are told as.
@Suite struct RunningTests {
    /// `nop; nop; inc ax; jmp -5`, and what it takes to know stops.
    private func client(_ code: [UInt8] = [0x90, 0x90, 0x40, 0xEB, 0xFB], vcpus: Int = 1) throws -> FakeClient
    {
        let client = try FakeClient(code, vcpus: vcpus)
        client.ask("qSupported:swbreak+;hwbreak+;exec-events+")
        return client
    }

    @Test func aStepBringsTheRegistersThatAreLookedAt() throws {
        let client = try client()
        let reply = try #require(try client.run("vCont;s:1;c").last)
        #expect(reply.hasPrefix("T05"))
        #expect(reply.contains("thread:1;"))
        #expect(reply.contains("08:017c0000;"))
        #expect(try client.run("s").last?.contains("08:027c0000;") == true)
        #expect(try client.run("S05").last?.contains("08:037c0000;") == true)
        #expect(try client.run("s7c00").last?.contains("08:017c0000;") == true)
    }

    /// All stay: they are stopped, and that is the answer.
    @Test func threadsThatAreToStop() throws {
        let client = try client(vcpus: 2)
        #expect(try client.run("vCont;t").last?.contains("thread:1;") == true)
        #expect(client.debugger.selected.registers.rip == 0x7C00)
        #expect(try client.run("vCont;t:1;t:2").last?.hasPrefix("T") == true)
    }

    @Test func aRangeIsSteppedThroughHere() throws {
        let client = try client()
        #expect(try client.run("vCont;r7c00,7c03:1").last?.contains("08:037c0000;") == true)
        // An empty one is a step.
        #expect(try client.run("vCont;r0,0:1").last?.contains("08:007c0000;") == true)
    }

    @Test func breakpointsAreKvmscopesOwn() throws {
        let client = try client()
        #expect(client.ask("Z0,7c02,1") == "OK")
        #expect(client.ask("Z1,7c03,1") == "OK")
        // Twice is once.
        #expect(client.ask("Z0,7c02,1") == "OK")
        #expect(client.debugger.breakpoints.map(\.origin) == ["gdb", "gdb"])
        #expect(try client.monitor("info breakpoints").contains("set by gdb"))
        let first = try #require(try client.run("vCont;c").last)
        #expect(first.contains("swbreak:;") && first.contains("08:027c0000;"))
        let second = try #require(try client.run("vCont;c").last)
        #expect(second.contains("hwbreak:;") && second.contains("08:037c0000;"))
    }

    /// GDB takes them out at each stop, and puts them in again: they keep their numbers and their hits.
    @Test func whatIsPutInAgainIsTheSame() throws {
        let client = try client()
        client.ask("Z0,7c02,1")
        for _ in 0..<3 {
            #expect(try client.run("vCont;c").last?.contains("swbreak") == true)
            #expect(client.ask("z0,7c02,1") == "OK")
            #expect(try client.run("vCont;s:1").last?.contains("08:037c0000;") == true)
            #expect(client.ask("Z0,7c02,1") == "OK")
        }
        #expect(client.debugger.breakpoints.map(\.number) == [1])
        #expect(client.debugger.breakpoints.first?.hits == 3)
        // One that stays out is deleted when the guest is resumed.
        client.ask("Z0,7c00,1")
        client.ask("z0,7c02,1")
        #expect(try client.run("c").last?.contains("08:007c0000;") == true)
        #expect(client.debugger.breakpoints.map(\.linear) == [0x7C00])
        // And one that the session's user has deleted is made anew.
        try client.debugger.deleteAllBreakpoints()
        #expect(client.ask("Z0,7c00,1") == "OK")
        #expect(client.debugger.breakpoints.count == 1)
    }

    @Test func aConditionIsEvaluatedHere() throws {
        let client = try client()
        // reg 0; const8 5; equal; end
        #expect(client.ask("Z0,7c03,1;X7,26000022051327") == "OK")
        #expect(try client.run("c").last?.contains("swbreak") == true)
        #expect(client.debugger.selected.registers.rax == 5)
        #expect(client.debugger.stop.exitsSince >= 0)
        // Another condition replaces it; two are alternatives.
        #expect(client.ask("Z0,7c03,1;X7,26000022091327;X7,26000022071327") == "OK")
        #expect(client.debugger.breakpoints.count == 1)
        #expect(try client.run("c").last?.contains("swbreak") == true)
        #expect(client.debugger.selected.registers.rax == 7)
        #expect(try client.run("c").last?.contains("swbreak") == true)
        #expect(client.debugger.selected.registers.rax == 9)
        // One that cannot be evaluated stops the guest, and says so: 1 / 0.
        #expect(client.ask("Z0,7c03,1;X6,220122000627") == "OK")
        let replies = try client.run("c")
        #expect(replies.last?.contains("swbreak") == true)
    }

    @Test func watchpoints() throws {
        // mov ax, 0x1234; mov [0x5000], ax; nop; jmp -9
        let client = try client([0xB8, 0x34, 0x12, 0xA3, 0x00, 0x50, 0x90, 0xEB, 0xF7])
        #expect(client.ask("Z2,5000,2") == "OK")
        #expect(try client.run("c").last?.contains("watch:5000;") == true)
        #expect(client.ask("z2,5000,2") == "OK")
        #expect(client.ask("Z4,4ff0,20") == "OK")
        #expect(try client.run("c").last?.contains("awatch:5000;") == true)
        #expect(client.debugger.breakpoints.map(\.length) == [32])
    }

    /// What GDB has no word for is said as the guest's output.
    @Test func whatHappensIsSaidInWords() throws {
        let halted = try client([0xF4])
        let replies = try halted.run("c")
        #expect(halted.text(replies[0].dropFirst()).contains("Halted: HLT"))
        #expect(replies.last?.hasPrefix("T05") == true)
        // It sleeps for ever: that is refused, with what can be done.
        #expect(halted.ask("c").hasPrefix("E.vCPU 0 sleeps in a HLT"))
        #expect(halted.ask("vCont;c").hasPrefix("E.vCPU 0 sleeps in a HLT"))
        // A breakpoint of the session's user, which GDB has not set.
        let other = try client()
        try other.debugger.setBreakpoint(at: .linear(0x7C02))
        let words = try other.run("c")
        #expect(other.text(words[0].dropFirst()).contains("Breakpoint 1."))
        #expect(words.last?.contains("swbreak") == false)
    }

    @Test func onlySomeVCPUsGo() throws {
        let client = try client(vcpus: 2)
        client.send(Array("vCont;c:2".utf8))
        _ = try client.session.passStop(timeout: .milliseconds(20))
        client.remote.take(.interrupt)
        while client.session.isRunning { _ = try client.session.passStop(timeout: .seconds(10)) }
        #expect(client.replies().last?.hasPrefix("T02") == true)
        #expect(client.debugger.stop[0]?.registers.rip == 0x7C00)
        #expect((client.debugger.stop[1]?.registers.rax ?? 0) > 0)
    }

    @Test func interruptStopsIt() throws {
        let client = try client()
        client.remote.take(.interrupt)
        #expect(client.replies().isEmpty)
        client.send(Array("c".utf8))
        _ = try client.session.passStop(timeout: .milliseconds(5))
        #expect(client.replies().isEmpty)
        // Memory and registers can be had meanwhile, by those who ask.
        #expect(client.ask("m7c00,1") == "90")
        client.remote.take(.interrupt)
        while client.session.isRunning { _ = try client.session.passStop(timeout: .seconds(10)) }
        #expect(client.replies().last?.hasPrefix("T02") == true)
    }

    @Test func aGuestThatRunsIsStoppedForItsClient() throws {
        let client = try FakeClient([0xEB, 0xFE], running: true)
        // What is about the conversation is answered at once, all else when it is stopped.
        #expect(client.ask("qSupported").contains("PacketSize"))
        #expect(client.ask("qXfer:features:read:target.xml:0,1000") == "(no reply)")
        client.send(Array("?".utf8))
        while client.session.isRunning { _ = try client.session.passStop(timeout: .seconds(10)) }
        let replies = client.replies()
        #expect(replies.count == 2)
        #expect(replies[0].contains("i8086"))
        #expect(replies[1].hasPrefix("T05"))
    }

    /// Whoever resumes it, the stop is told to a client that waits, and to no other.
    @Test func theSessionsUserAndTheClient() throws {
        let client = try client()
        client.ask("Z0,7c02,1")
        guard case .running = try client.session.execute("continue", origin: .script) else {
            Issue.record("it does not run")
            return
        }
        #expect(try client.session.collectStop(timeout: .seconds(10)) != nil)
        #expect(client.replies().isEmpty)
        // The client resumes: its user sees the stop as well.
        client.send(Array("vCont;c".utf8))
        #expect(client.session.isRunning)
        let output = try #require(try client.session.collectStop(timeout: .seconds(10)))
        #expect(output.lines(width: 80)[0].text.contains("Breakpoint 1."))
        #expect(client.replies().last?.contains("swbreak") == true)
        // The user was faster: the client's resume waits for the same stop.
        _ = try client.session.execute("continue", origin: .script)
        client.send(Array("vCont;c".utf8))
        #expect(try client.session.collectStop(timeout: .seconds(10)) != nil)
        #expect(client.replies().last?.contains("swbreak") == true)
    }

    @Test(arguments: DisconnectPolicy.allCases, [true, false])
    func aClientThatGoes(_ policy: DisconnectPolicy, _ hasDetached: Bool) throws {
        let client = try client()
        client.session.disconnectPolicy = policy
        client.ask("Z0,7c02,1")
        if hasDetached { #expect(client.ask("D") == "OK") } else { client.remote.leave() }
        #expect(client.remote.isOver)
        #expect(client.debugger.breakpoints.isEmpty)
        // The guest is kvmscope's own.
        let goesOn = policy == .continue || policy == .automatic && hasDetached
        #expect(client.session.isRunning == goesOn)
        #expect(!client.session.isEnded)
        client.session.interrupt()
        while client.session.isRunning { _ = try client.session.passStop(timeout: .seconds(10)) }
    }

    @Test func kill() throws {
        let own = try client()
        #expect(own.ask("vKill;1") == "OK")
        #expect(own.session.isEnded && own.remote.isOver)
        // One that another program runs goes on.
        let foreign = try FakeClient(options: RemoteOptions(ownsGuest: false))
        #expect(foreign.ask("qAttached") == "1")
        foreign.send(Array("k".utf8))
        #expect(!foreign.session.isEnded && foreign.remote.isOver)
        #expect(foreign.session.isRunning)
        foreign.session.interrupt()
        while foreign.session.isRunning { _ = try foreign.session.passStop(timeout: .seconds(10)) }
    }

    /// `stepi` over a switch of the mode: the new layout is told as a new program, and the resume after it is answered
    /// at once.
    @Test func aSwitchOfTheMode() throws {
        let client = try FakeClient([0x90, 0x90, 0x90])
        client.ask("qSupported:exec-events+")
        #expect(client.ask("g").count == 128)
        // As if the guest's code had become 32 bits wide.
        try client.debugger.setRegister("cs.db", to: 1)
        let news = try #require(try client.run("vCont;s:1").last)
        #expect(news.hasPrefix("T05exec:"))
        #expect(client.ask("qXfer:features:read:target.xml:0,1000").contains("<architecture>i386<"))
        client.send(Array("vCont;c".utf8))
        #expect(!client.session.isRunning)
        #expect(client.replies().last?.contains("08:017c0000;") == true)
        // A client that does not know of programs keeps the layout that it has read.
        let old = try FakeClient([0x90, 0x90, 0x90])
        try old.debugger.setRegister("cs.db", to: 1)
        #expect(try old.run("s").last?.contains("exec") == false)
        #expect(old.ask("qXfer:features:read:target.xml:0,1000").contains("i8086"))
    }
}
