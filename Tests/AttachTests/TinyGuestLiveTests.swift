import DebugTarget
import Debugger
import Foundation
import Host
import KVMCore
import TargetConformance
import Testing
import X86

@testable import Attach

@Suite("Attached to a small VMM", .enabled(if: Host.runsKVM, "needs /dev/kvm"), .serialized)
struct TinyGuestLiveTests {
    @Test("it is found, with its threads, and its memory map is what it asked KVM for")
    func found() throws {
        let tiny = try TinyGuest(vcpus: 2)
        let guest = try #require(GuestFinder().guest(process: tiny.pid))
        #expect(guest.vmm.rawValue == "TinyVMM")
        #expect(guest.vcpus.map(\.id) == [0, 1])
        #expect(
            guest.vcpus.map { $0.thread.map(UInt64.init) } == [
                try tiny.vcpu(0).thread, try tiny.vcpu(1).thread,
            ])
        #expect(guest.obstacle == nil)
        let target = try AttachedTarget(guest, tracer: Built.tracer)
        #expect(target.attachedMemory.source == .kernel)
        let expected = try tiny.slots().enumerated().map { index, slot in
            MemoryRegion(slot: index, gpa: slot[0], size: slot[1], hva: slot[2], isReadOnly: slot[3] & 2 != 0)
        }
        #expect(target.memory.regions == expected)
        var bytes = [UInt8](repeating: 0, count: 9)
        try bytes.withUnsafeMutableBytes { try target.memory.read(0x10_0000, into: $0) }
        #expect(String(decoding: bytes, as: UTF8.self) == "read only")
    }

    @Test("a VMM that maps more of kvm_run than there is")
    func wide() throws {
        let tiny = try TinyGuest(vcpus: 2, "wide")
        let target = try tiny.attach()
        #expect(UInt64(target.mappingSize) == target.host.runSize)
        let debugger = try Debugger(target: target)
        try debugger.startStep(count: 3)
        guard case .step? = try debugger.collectStop(timeout: .paced(20))?.reason else {
            throw Failure("no step")
        }
        try debugger.detach()
        try tiny.waitForRounds()
        try tiny.expectUnnoticed()
    }

    @Test("a memory map that is longer than a message")
    func manySlots() throws {
        let tiny = try TinyGuest(vcpus: 1, "slots=8000")
        let target = try tiny.attach()
        #expect(target.memory.regions.count == 8003)
        // A patch in the last of them is the tracer's to put back, too.
        let last = try #require(target.memory.regions.last)
        let debugger = try Debugger(target: target)
        try debugger.writeMemory(.physical(last.gpa), [0x90, 0x90])
        try debugger.startStep(count: 3)
        let stop = try debugger.collectStop(timeout: .paced(20))
        guard case .step? = stop?.reason else {
            throw Failure("no step: \(String(describing: stop?.reason))")
        }
        try debugger.setBreakpoint(at: .physical(last.gpa))
        #expect(try debugger.readMemory(.physical(last.gpa), count: 2).bytes == [0x90, 0x90])
        try debugger.detach()
        try tiny.waitForRounds()
        try tiny.expectUnnoticed()
    }

    @Test("registers are seen with no stop")
    func passive() throws {
        let tiny = try TinyGuest()
        do {
            let target = try tiny.attach()
            try tiny.waitForRounds()
            for _ in 0..<200 {
                let (general, special) = try target.withVCPU(0) {
                    (try $0.registers(), try $0.specialRegisters())
                }
                // At an exit it stands after the IN or the OUT.
                #expect([0x1000, 0x1002, 0x1023, 0x1025].contains(general.rip))
                #expect(special.cr0.rawValue & 1 == 0)
            }
            // The debugger, its samples and its sources stop nothing either.
            let debugger = try Debugger(target: target)
            try debugger.startContinue()
            for _ in 0..<20 {
                #expect(try debugger.liveSnapshot().activity == .running)
                _ = target.valueSources
            }
            guard case .lastExit = target.registersAge(vcpu: 0) else { throw Failure("not at the last exit") }
            #expect(target.standstills.count == 0)
            #expect(try !tiny.isTraced(0))
            let detachment = try debugger.detach()
            // Detaching stopped it, as the end of the run did.
            #expect(detachment.process == tiny.pid && detachment.runPages == 1)
            #expect(detachment.guestDebug == 0)
        }
        try tiny.waitForRounds()
        try tiny.expectUnnoticed()
    }

    /// Attached, and the guest stopped.
    private func stopped(_ tiny: TinyGuest) throws -> (AttachedTarget, Debugger) {
        let target = try tiny.attach()
        let debugger = try Debugger(target: target)
        try debugger.startContinue()
        debugger.interrupt()
        let stop = try #require(try debugger.collectStop(timeout: .paced(10)))
        #expect(stop.reason == .interrupted)
        return (target, debugger)
    }

    @Test(
        "steps go unnoticed, with a filter of system calls and with signals to the vCPU's thread",
        arguments: [[], ["filter"], ["kick"], ["filter", "kick"], ["mask", "kick"]])
    func steps(options: [String]) throws {
        let tiny = try TinyGuest(vcpus: 1, options.first ?? "-", options.last ?? "-")
        let count = Rounds.scaled(2000, full: 10_000, atLeast: 600)
        do {
            let (target, debugger) = try stopped(tiny)
            let before = try tiny.vcpu().rounds
            let stop = try debugger.step(count: count)
            #expect(stop.reason == .step(count: count))
            #expect(stop.steps == count)
            // A round is 268 instructions long.
            let rounds = try Int(tiny.vcpu().rounds - before)
            #expect((count / 268 - 1...count / 268 + 1).contains(rounds))
            try target.detach()
        }
        try tiny.waitForRounds()
        try tiny.expectUnnoticed()
    }

    @Test("a breakpoint is hit once a round, and the others run on")
    func breakpoints() throws {
        let tiny = try TinyGuest(vcpus: 2)
        do {
            let (target, debugger) = try stopped(tiny)
            // jmp start: both vCPUs come by.
            let breakpoint = try debugger.setBreakpoint(at: .linear(0x1034))
            for _ in 0..<Rounds.scaled(100, full: 1000, atLeast: 10) {
                let stop = try debugger.continueRun()
                #expect(stop.reason == .breakpoint([breakpoint.number]))
                #expect(stop[stop.vcpu]?.registers.rip == 0x1034)
            }
            // Left armed: detaching has to take it away.
            try target.detach()
        }
        for vcpu in 0..<2 {
            try tiny.waitForRounds(3, vcpu: vcpu)
            try tiny.expectUnnoticed(vcpu: vcpu)
        }
    }

    @Test("attaching and detaching again and again leaves nothing behind")
    func rounds() throws {
        let tiny = try TinyGuest(vcpus: 2, "filter")
        for round in 0..<Rounds.scaled(12, full: 1000, atLeast: 5) {
            let (target, debugger) = try stopped(tiny)
            if round % 2 == 0 { _ = try debugger.step(count: 3) }
            if round % 4 == 0 { try debugger.startContinue() }
            if round % 3 == 0 { try target.detach() }
        }
        for vcpu in 0..<2 {
            try tiny.waitForRounds(3, vcpu: vcpu)
            try tiny.expectUnnoticed(vcpu: vcpu)
        }
        let status = try String(
            contentsOfFile: "/proc/\(tiny.pid)/task/\(try tiny.vcpu().thread)/status", encoding: .utf8)
        #expect(status.contains("TracerPid:\t0\n"))
    }

    @Test("a register set from outside changes what the guest does")
    func edit() throws {
        let tiny = try TinyGuest()
        do {
            let (target, debugger) = try stopped(tiny)
            // Where the guest does not use BX but to look at it.
            _ = try debugger.setBreakpoint(at: .linear(0x1034))
            _ = try debugger.continueRun()
            try debugger.setRegister("bx", to: 0x2A)
            try debugger.deleteAllBreakpoints()
            try debugger.startContinue()
            try tiny.waitForRounds()
            #expect(try tiny.vcpu().commands == 1)
            #expect(try tiny.vcpu().lastCommand == 0x2A)
            // The same while it runs.
            try debugger.setRegister("bx", to: 0x17)
            try tiny.waitForRounds()
            #expect(try tiny.vcpu().commands == 2)
            #expect(try tiny.vcpu().lastCommand == 0x17)
            try target.detach()
        }
        try tiny.waitForRounds()
        try tiny.expectUnnoticed()
    }

    @Test("a register set before anything was stopped leaves the others as they are")
    func editAtOnce() throws {
        let tiny = try TinyGuest()
        let target = try tiny.attach()
        let debugger = try Debugger(target: target)
        try debugger.startContinue()
        let standstills = target.standstills.count
        for number in 1...20 as ClosedRange<UInt64> {
            // BX is looked at once a round: the next value comes when this one was taken.
            try debugger.setRegister("bx", to: number)
            try tiny.waitForRounds(2)
            #expect(try tiny.vcpu().lastCommand == number)
        }
        #expect(target.standstills.count == standstills + 20)
        #expect(target.standstills.last > .zero && target.standstills.total > target.standstills.last)
        try debugger.detach()
        try tiny.waitForRounds()
        try tiny.expectUnnoticed()
        #expect(try tiny.vcpu().commands == 20)
    }

    @Test("two vCPUs stop together, and how far apart is told")
    func spread() throws {
        let tiny = try TinyGuest(vcpus: 2)
        let target = try tiny.attach()
        let debugger = try Debugger(target: target)
        // A guest that has not exited in time has been stopped to be read.
        let first = target.standstills.commonStops
        #expect(debugger.stop.spread == nil && first <= 1)
        var before: Duration?
        for number in 1...5 as ClosedRange<UInt64> {
            try debugger.startContinue()
            _ = try debugger.collectStop(timeout: .milliseconds(2))
            debugger.interrupt()
            let stop = try #require(try debugger.collectStop(timeout: .paced(10)))
            let spread = try #require(stop.spread)
            #expect(spread > .zero && target.standstills.commonStops == first + number)
            // It is a part of the standstill that began with it.
            if let before { #expect(try #require(stop.standstill) > before) }
            before = spread
        }
        // The other one is stopped already.
        #expect(try debugger.step().spread == nil)
        try debugger.detach()
        for vcpu in 0..<2 {
            try tiny.waitForRounds(3, vcpu: vcpu)
            try tiny.expectUnnoticed(vcpu: vcpu)
        }
    }

    @Test("after detaching nothing is asked of the guest any more")
    func detached() throws {
        let tiny = try TinyGuest(vcpus: 2)
        let (target, debugger) = try stopped(tiny)
        let breakpoint = try debugger.setBreakpoint(at: .linear(0x1034))
        _ = try debugger.continueRun()
        let detachment = try debugger.detach()
        #expect(detachment.threads == 2 && detachment.runPages == 2)
        // A patch needs no guest debug.
        #expect(breakpoint.mechanism != .debugRegister || detachment.guestDebug == 2)
        #expect((detachment.standstill ?? .zero) > .zero)
        #expect(throws: HostGuestError.self) { try target.detach() }
        #expect(throws: HostGuestError.self) { try target.withVCPU(0) { try $0.registers() } }
        #expect(throws: MemoryFault(gpa: 0x1000)) {
            var byte: UInt8 = 0
            try withUnsafeMutableBytes(of: &byte) { try target.memory.read(0x1000, into: $0) }
        }
        #expect(target.valueSources.allSatisfy { $0.age == .unknown })
        for vcpu in 0..<2 {
            #expect(try !tiny.isTraced(vcpu))
            try tiny.waitForRounds(3, vcpu: vcpu)
            try tiny.expectUnnoticed(vcpu: vcpu)
        }
    }

    @Test("the kernel's counters are read with one stop, and none after")
    func statistics() throws {
        let tiny = try TinyGuest(vcpus: 2, "filter")
        let descriptors = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(tiny.pid)/fd").count
        let target = try tiny.attach()
        let debugger = try Debugger(target: target)
        try debugger.startContinue()
        let standstills = target.standstills.count
        func exits() throws -> [UInt64] {
            try target.kernelStatistics().filter { $0.vcpu != nil }.compactMap { block in
                block.values.first { $0.name == "exits" || $0.name == "io_exits" }?.values.first
            }
        }
        let blocks = try target.kernelStatistics()
        #expect(blocks.map(\.vcpu) == [nil, 0, 1])
        #expect(blocks.allSatisfy { $0.name.hasPrefix("kvm-") && !$0.values.isEmpty })
        #expect(target.standstills.count == standstills + 1)
        let before = try exits()
        try tiny.waitForRounds(20)
        try tiny.waitForRounds(20, vcpu: 1)
        let after = try exits()
        #expect(before.count == 2 && zip(before, after).allSatisfy { $0 <= $1 })
        #expect(target.standstills.count == standstills + 1)
        // What was made in the VMM is closed there.
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: "/proc/\(tiny.pid)/fd").count == descriptors)
        try debugger.detach()
        for vcpu in 0..<2 { try tiny.expectUnnoticed(vcpu: vcpu) }
    }

    @Test("memory is written, all or nothing")
    func memory() throws {
        let tiny = try TinyGuest()
        let target = try tiny.attach()
        let bytes: [UInt8] = [1, 2, 3, 4]
        // Over the end of one slot into the next.
        try bytes.withUnsafeBytes { try target.memory.write(0x10_FFFE - 0x1_0000, $0) }
        var read = [UInt8](repeating: 0, count: 4)
        try read.withUnsafeMutableBytes { try target.memory.read(0xF_FFFE, into: $0) }
        #expect(read == bytes)
        #expect(throws: MemoryFault(gpa: 0x40_0000)) {
            try bytes.withUnsafeBytes { try target.memory.write(0x3F_FFFE, $0) }
        }
        try read.withUnsafeMutableBytes { try target.memory.read(0x3F_FFFC, into: $0) }
        #expect(read == [0, 0, 0, 0])
    }

    @Test("the front end killed at any moment, the guest goes on and guest debug is off")
    func killed() throws {
        let tiny = try TinyGuest(vcpus: 2, "filter")
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<Rounds.scaled(5, full: 200) {
            let front = Process(of: Built.tracer.path, [])
            front.arguments? += [
                "attach", "\(tiny.pid)", "--batch", "-ex", "stop", "-ex", "break 0x9000", "-ex",
                "step 100000000",
            ]
            front.standardOutput = FileHandle.nullDevice
            front.standardInput = FileHandle.nullDevice
            try front.run()
            // Until it holds the guest, and then some.
            let deadline = ContinuousClock.now + .paced(20)
            while try !tiny.isTraced(0), ContinuousClock.now < deadline { usleep(500) }
            usleep(UInt32.random(in: 0...40_000, using: &generator))
            #expect(front.isRunning)
            kill(front.processIdentifier, SIGKILL)
            front.waitUntilExit()
            let end = ContinuousClock.now + .paced(10)
            while try tiny.isTraced(0) || tiny.isTraced(1), ContinuousClock.now < end { usleep(500) }
            for vcpu in 0..<2 {
                try tiny.waitForRounds(1, vcpu: vcpu)
                try tiny.expectUnnoticed(vcpu: vcpu)
            }
            let guest = try #require(GuestFinder().guest(process: tiny.pid))
            let reader = try KernelReader.shared()
            for vcpu in guest.vcpus {
                #expect(reader.guestDebug(of: tiny.pid, vcpu: vcpu.descriptor) == 0)
            }
            #expect(guest.obstacle == nil)
        }
    }

    @Test("what cannot be attached to is refused with the reason")
    func refusals() throws {
        let tiny = try TinyGuest()
        let target = try tiny.attach()
        let debugger = try Debugger(target: target)
        _ = try debugger.startContinue()
        debugger.interrupt()
        _ = try debugger.collectStop(timeout: .paced(10))
        // A second debugger, while the first one traces.
        let again = try #require(GuestFinder().guest(process: tiny.pid))
        #expect(again.obstacle?.code == .attachedElsewhere)
        #expect(throws: HostGuestError.self) { try AttachedTarget(again, tracer: Built.tracer) }
        let list = GuestFinder().guests()
        #expect(throws: HostGuestError.self) { try list.guest(matching: "no such guest") }
        let error = #expect(throws: HostGuestError.self) { try list.guest(matching: "1") }
        #expect(error?.code == .noGuest)
    }

    @Test("a vCPU that is plugged in meanwhile is one of them from the next stop on")
    func hotPlug() throws {
        let tiny = try TinyGuest(vcpus: 1, "filter")
        do {
            let (target, debugger) = try stopped(tiny)
            try debugger.startContinue()
            kill(tiny.pid, SIGUSR2)
            try tiny.waitForRounds(2, vcpu: 1)
            debugger.interrupt()
            let stop = try #require(try debugger.collectStop(timeout: .paced(10)))
            #expect(stop.vcpus.map(\.id) == [0, 1])
            let before = try tiny.vcpu(1)
            usleep(5000)
            #expect(try tiny.vcpu(1) == before)
            try debugger.select(vcpu: 1)
            #expect(try debugger.step(count: 300).reason == .step(count: 300))
            // mov ax, bx: only who has something in BX comes by. Who comes first is the host's affair, and with one
            // processor always the same.
            let breakpoint = try debugger.setBreakpoint(at: .linear(0x1029))
            for vcpu in [1, 0] {
                try debugger.select(vcpu: vcpu)
                try debugger.setRegister("bx", to: UInt64(7 + vcpu))
                let stop = try debugger.continueRun()
                #expect(stop.reason == .breakpoint([breakpoint.number]))
                #expect(stop.vcpu == vcpu)
            }
            try target.detach()
        }
        for vcpu in 0..<2 {
            try tiny.waitForRounds(3, vcpu: vcpu)
            try tiny.expectUnnoticed(vcpu: vcpu)
        }
    }

    @Test("all vCPUs stop together")
    func together() throws {
        let tiny = try TinyGuest(vcpus: 4)
        let (target, debugger) = try stopped(tiny)
        for _ in 0..<20 {
            // Nothing of any vCPU goes on while they are stopped.
            let before = try (0..<4).map { try tiny.vcpu($0) }
            usleep(2000)
            #expect(try (0..<4).map { try tiny.vcpu($0) } == before)
            try debugger.startContinue()
            _ = try debugger.collectStop(timeout: .milliseconds(3))
            debugger.interrupt()
            _ = try #require(try debugger.collectStop(timeout: .paced(10)))
        }
        try target.detach()
        for vcpu in 0..<4 {
            try tiny.waitForRounds(1, vcpu: vcpu)
            try tiny.expectUnnoticed(vcpu: vcpu)
        }
    }

    @Test(
        "a VMM that ends is said to have ended: while its guest is only looked at, runs with patches, is stepped"
    )
    func ends() throws {
        func expectEnd(
            _ tiny: TinyGuest, _ debugger: Debugger, _ number: Int32,
            _ location: SourceLocation = #_sourceLocation
        ) throws {
            usleep(20_000)
            kill(tiny.pid, number)
            let stop = try #require(
                try debugger.collectStop(timeout: .paced(10)), sourceLocation: location)
            guard case .ended(let what) = stop.reason else { throw Failure("\(stop.reason)") }
            #expect(what.contains("has ended"))
            // Nothing of what follows hangs, and the end of the session least.
            #expect(throws: (any Error).self) { try debugger.fpu() }
            _ = try? debugger.detach()
        }
        for number in [SIGKILL, SIGTERM] {
            var tiny = try TinyGuest(vcpus: 2)
            var debugger = try Debugger(target: try tiny.attach())
            try debugger.startContinue()
            try expectEnd(tiny, debugger, number)

            tiny = try TinyGuest(vcpus: 2, "filter")
            debugger = try stopped(tiny).1
            for place: UInt64 in [0x9000, 0x9001, 0x9002, 0x1029] {
                try debugger.setBreakpoint(at: .linear(place))
            }
            try debugger.startContinue()
            try expectEnd(tiny, debugger, number)

            tiny = try TinyGuest(vcpus: 2)
            debugger = try stopped(tiny).1
            try debugger.startStep(count: 100_000_000)
            _ = try debugger.collectStop(timeout: .milliseconds(20))
            try expectEnd(tiny, debugger, number)

            tiny = try TinyGuest(vcpus: 2, "prompt")
            debugger = try Debugger(target: try tiny.attach())
            try debugger.setBreakpoint(at: .linear(0x1029))
            try debugger.startContinue()
            try expectEnd(tiny, debugger, number)
        }
    }

    @Test("a VMM that dies under the debugger is said to have died")
    func death() throws {
        let tiny = try TinyGuest()
        let (target, debugger) = try stopped(tiny)
        kill(tiny.pid, SIGKILL)
        tiny.process.waitUntilExit()
        let stop = try debugger.step()
        guard case .ended = stop.reason else { throw Failure("\(stop.reason)") }
        _ = target
    }
}
