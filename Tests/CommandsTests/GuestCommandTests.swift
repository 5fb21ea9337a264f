import DebugTarget
import Debugger
import Testing

@testable import Commands

/// Commands about a guest that another program runs.
@Suite struct GuestCommandTests {
    private func foreign(_ code: [UInt8] = [0xEB, 0xFE]) throws -> (ForeignGuest, Driver) {
        let guest = ForeignGuest(FakeGuest(code))
        return (guest, Driver(guest.inner, try Debugger(target: guest)))
    }

    @Test func detachPutsBackAndLeavesTheSession() throws {
        let (guest, driver) = try foreign()
        let text = try driver.text("detach")
        #expect(text[0] == "Detached from made-up (QEMU, process 77): it goes on.")
        #expect(
            text[1]
                == "kvm_run of 2 vCPUs put back; breakpoints and guest debug of 1 vCPU off; "
                + "2 threads no longer traced; the guest had been stopped for 215 us.")
        #expect(guest.isDetached)
        // No guest: what needs one says so, what does not works.
        for line in ["step", "continue", "info registers", "x 0x7c00", "set $rax = 1", "stop", "info stats"] {
            let error = try driver.failure(line)
            #expect(error.message == "the guest was detached", "\(line)")
            #expect(error.remedy?.contains("attach again") == true)
        }
        #expect(try driver.failure("detach").message == "the guest was detached")
        #expect(try !driver.text("help").isEmpty)
        #expect(throws: DebuggerError.self) { try driver.session.debugger.startContinue() }
    }

    @Test func detachStopsARunningGuestFirst() throws {
        let (guest, driver) = try foreign()
        guard case .running = try driver.session.execute("continue &") else {
            Issue.record("it does not run")
            return
        }
        #expect(driver.session.isRunning)
        _ = try driver.output("detach")
        #expect(guest.isDetached)
        #expect(!driver.session.isRunning)
    }

    @Test func exitsOfAForeignGuestAreTheKernelsCountersWithWhatTheyLack() throws {
        let (guest, driver) = try foreign()
        let text = try driver.text("info exits")
        #expect(text.first?.hasPrefix("No exits seen by kvmscope yet") == true, "\(text)")
        #expect(text.contains("Counted by the kernel since the VM was made (KVM_GET_STATS_FD):"), "\(text)")
        #expect(text.contains { $0.split(separator: " ") == ["exits", "1,234"] }, "\(text)")
        // What is 0, or counts no exit, is not among them.
        #expect(!text.contains { $0.contains("halt_exits") || $0.contains("wait_hist") }, "\(text)")
        #expect(text.last?.hasPrefix("Not counted there:") == true, "\(text)")
        let output = try #require(try driver.output("info exits") as? ExitsOutput)
        #expect(output.kernel?.counters == [.init(name: "exits", count: 1234, vcpus: [1234])])
        guest.failStatistics()
        #expect(try driver.text("info exits").contains { $0.hasPrefix("they cannot be read: ") })
        // Of a guest of ours every exit is seen.
        #expect(try Driver().text("info exits") == ["No exits yet."])
    }

    @Test func ourOwnGuestCannotBeDetached() throws {
        let error = try Driver().failure("detach")
        #expect(error.message.contains("debugger's own"))
        #expect(error.remedy?.contains("kvmscope attach") == true)
    }

    @Test func whatBecomesOfADeadVCPUIsTheOtherProgramsToSay() throws {
        // ud2
        let (guest, driver) = try foreign([0x0F, 0x0B])
        #expect(try driver.text("continue")[0].hasPrefix("Triple fault"))
        #expect(driver.session.debugger.stop.vcpus[0].activity == .dead)
        // It was not mended.
        for order in ["continue", "step", "step all"] {
            #expect(try driver.text(order)[0].hasPrefix("Triple fault"), "\(order)")
        }
        guest.inner.ram.store([0xEB, 0xFE], at: 0x7C00)
        #expect(try driver.text("step").last?.contains("7c00: jmp 0x7c00") == true)

        let own = try Driver([0x0F, 0x0B])
        #expect(try own.text("continue")[0].hasPrefix("Triple fault"))
        for order in ["continue", "step"] {
            #expect(try own.failure(order).message == "vCPU 0 is dead and cannot go on")
        }
    }

    @Test func sources() throws {
        let (_, driver) = try foreign()
        let text = try driver.text("info sources", width: 120)
        #expect(text[0].hasPrefix("Values"))
        #expect(text[1].contains("registers of vCPU 0") && text[1].contains("live"))
        #expect(text[2].contains("memory map") && text[2].contains("read 1.50 s ago"))
        #expect(text[2].hasSuffix("NO"))
        #expect(text[3].contains("not to be had"))
        #expect(text[4] == "memory map: not from KVM's memory slots (BPF and BTF): no BPF here")
        #expect(text[5] == "The guest has not been made to stop.")
        _ = try driver.session.execute("continue &")
        #expect(
            try driver.text("info sources", width: 120)[1].contains("at the last exit, the same for 20.0 us"))
        let json = try driver.json("info sources")
        #expect(json.contains(#""age":"lastExit","ageNanoseconds":20000"#))
        #expect(json.contains(#""checked":false"#))
        #expect(json.contains(#""reason":"no BPF here""#))
        // Our own guest has one source only.
        #expect(try Driver().text("info sources")[0].contains("directly"))
    }

    @Test func standstillsAreToldForEachAct() throws {
        let (_, driver) = try foreign()
        // Before the step the guest was stopped.
        #expect(try driver.json("step").contains(#""standstillNanoseconds":7000000"#))
        // What is done while it is stopped costs it nothing more.
        #expect(try !driver.json("info registers").contains("standstill"))
        _ = try driver.session.execute("continue &")
        let set = try driver.text("set $rax = 5")
        #expect(set.last == "The guest was stopped for 143 us.")
        #expect(try driver.json("set $rax = 6").contains(#""standstillNanoseconds":143000"#))
        let stop = try driver.text("stop")
        #expect(stop[0].contains("stopped for"))
        // One that nothing measures says nothing of it.
        #expect(try !Driver().json("step").contains("standstill"))
    }

    @Test func theSpreadOfACommonStopIsTold() throws {
        let (guest, driver) = try foreign()
        #expect(try !driver.json("step").contains("spread"))
        #expect(try !driver.json("info sources").contains("spread"))
        guest.stopTogether(within: .microseconds(12))
        #expect(try driver.json("step").contains(#""spreadNanoseconds":12000"#))
        // The next one is no common stop, and is not told the time of the one before.
        #expect(try !driver.json("step").contains("spread"))
        #expect(try driver.json("info sources").contains(#""spreadNanoseconds":12000"#))
        #expect(
            try driver.text("info sources").last == "Its vCPUs last stopped within 12.0 us of each other.")
        guest.stopTogether(within: .microseconds(9))
        #expect(try driver.text("step 2")[0].contains("vCPUs stopped within 9.00 us"))
        // An edit of a guest that runs, too.
        _ = try driver.session.execute("continue &")
        guest.stopsTogether = .microseconds(11)
        #expect(
            try driver.text("set $rax = 5").last
                == "The guest was stopped for 143 us, its vCPUs stopped within 11.0 us of each other.")
        #expect(try driver.json("set $rax = 6").contains(#""spreadNanoseconds":11000"#))
        guest.stopsTogether = nil
        #expect(try driver.text("set $rax = 7").last == "The guest was stopped for 143 us.")
    }

    @Test func statistics() throws {
        let (guest, driver) = try foreign()
        #expect(
            try driver.text("info stats") == [
                "vCPU 0  kvm-77/vcpu-0", "  exits           1,234",
                "  halt_wait_hist  from 2 ns: 3  from 8 ns: 2", "  halt_wait_ns    2.50 ms",
            ])
        #expect(try driver.text("info stats tlb") == ["VM  kvm-77", "  remote_tlb_flush  0"])
        #expect(try driver.text("stats xyzzy") == ["No counter has that in its name."])
        #expect(try driver.json("info stats halt_exits").contains(#""values":[0]"#))
        guest.failStatistics()
        #expect(try driver.failure("info stats").message.contains("cannot be read"))
        #expect(try Driver().failure("info stats").message.contains("does not give"))
    }
}
