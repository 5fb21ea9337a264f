import DebugTarget
import Debugger
import Foundation
import Host
import KVMCore
import TargetConformance
import Testing
import X86

@testable import Attach

/// Breakpoints beyond the four debug registers, in the memory of another program's guest.
@Suite("Patches in an attached guest", .enabled(if: Host.runsKVM, "needs /dev/kvm"), .serialized)
struct PatchLiveTests {
    /// The small VMM's guest, instruction by instruction.
    private static let places: [UInt64] = [
        0x1000, 0x1002, 0x1005, 0x100B, 0x1012, 0x1019, 0x101B, 0x101D, 0x1020, 0x1023, 0x1025, 0x1027,
        0x1031,
        0x1034,
    ]

    /// The guest's code as it is in the VMM's memory, patches and all.
    private func raw(_ tiny: TinyGuest, count: Int = 0x36) throws -> [UInt8] {
        let memory = AttachedMemory(
            process: tiny.pid,
            map: GuestMemoryMap(
                regions: [
                    MemoryRegion(
                        slot: 0, gpa: 0, size: 0x10_0000, hva: try tiny.slots()[0][2], isReadOnly: false)
                ], source: .none))
        var bytes = [UInt8](repeating: 0, count: count)
        try bytes.withUnsafeMutableBytes { try memory.read(0x1000, into: $0) }
        return bytes
    }

    private func expectWhole(_ tiny: TinyGuest, _ image: [UInt8], vcpus: Int = 2) throws {
        #expect(try raw(tiny) == image)
        for vcpu in 0..<vcpus {
            try tiny.waitForRounds(3, vcpu: vcpu)
            try tiny.expectUnnoticed(vcpu: vcpu)
        }
        #expect(try raw(tiny) == image)
    }

    @Test(
        "a breakpoint at every instruction, all hit in their order, none seen in memory, none left",
        arguments: [[], ["kick"], ["filter", "kick"]])
    func everyInstruction(options: [String]) throws {
        let tiny = try TinyGuest(vcpus: 1, options.first ?? "-", options.last ?? "-")
        let image = try raw(tiny)
        do {
            let (target, debugger) = try tiny.stopped()
            var numbers: [UInt64: Int] = [:]
            for place in Self.places {
                numbers[place] = try debugger.setBreakpoint(at: .linear(place)).number
            }
            let patched = debugger.breakpoints.filter { $0.mechanism == .portOut || $0.mechanism == .int3 }
            #expect(patched.count == Self.places.count - Host.registerBreakpoints)
            #expect(try raw(tiny) != image)
            #expect(try debugger.readMemory(.physical(0x1000), count: image.count).bytes == image)
            var seen: Set<UInt64> = []
            var last: UInt64?
            for _ in 0..<Rounds.scaled(300, full: 1000, atLeast: 300) {
                let stop = try debugger.continueRun()
                let place = try #require(stop[0]?.registers.rip)
                #expect(stop.reason == .breakpoint([try #require(numbers[place])]))
                if let last {
                    // jnz, jz and jmp lead elsewhere.
                    let index = try #require(Self.places.firstIndex(of: last))
                    let next = index + 1 < Self.places.count ? Self.places[index + 1] : 0x1000
                    #expect(
                        place == next || [0x101B, 0x1027].contains(last) && [0x100B, 0x1031].contains(place))
                }
                last = place
                seen.insert(place)
            }
            #expect(seen.count == Self.places.count)
            let detachment = try debugger.detach()
            #expect(
                detachment.patchedBytes > 0 && detachment.patchedBytes == Set(patchedBytes(patched)).count)
            _ = target
        }
        try expectWhole(tiny, image, vcpus: 1)
    }

    private func patchedBytes(_ breakpoints: [Breakpoint]) -> [UInt64] {
        breakpoints.flatMap { breakpoint -> [UInt64] in
            let start = breakpoint.linear ?? 0
            return breakpoint.mechanism == .int3 ? [start] : [start, start + 1]
        }
    }

    @Test("two vCPUs on the same patches: none runs through while the other steps past")
    func two() throws {
        let tiny = try TinyGuest(vcpus: 2, "filter", "kick")
        let image = try raw(tiny)
        do {
            let (_, debugger) = try tiny.stopped()
            // After the out: once a round.
            try debugger.fillDebugRegisters(places: 3)
            let breakpoint = try debugger.setBreakpoint(at: .linear(0x1023))
            #expect(breakpoint.mechanism != .debugRegister && breakpoint.mechanism != .stepping)
            try debugger.setBreakpoint(breakpoint.number, ignore: 1 << 40)
            let before = try (0..<2).map { try tiny.vcpu($0).rounds }
            try debugger.startContinue()
            for vcpu in 0..<2 { try collecting(debugger) { try tiny.vcpu(vcpu).rounds > before[vcpu] + 40 } }
            debugger.interrupt()
            _ = try #require(try debugger.collectStop(timeout: .paced(10)))
            let rounds = try (0..<2).map { try tiny.vcpu($0).rounds - before[$0] }.reduce(0, +)
            let hits = try debugger.breakpoint(breakpoint.number).hits
            // Each may stand between the OUT and the breakpoint at either end.
            #expect(abs(hits - Int(rounds)) <= 2, "\(hits) hits in \(rounds) rounds")
            try debugger.deleteAllBreakpoints()
            #expect(try raw(tiny) == image)
            try debugger.detach()
        }
        try expectWhole(tiny, image)
    }

    /// Lets the guest run, its events taken in, until something is so.
    private func collecting(
        _ debugger: Debugger, _ what: String = "that the guest goes on", until isSo: () throws -> Bool
    ) throws {
        let deadline = ContinuousClock.now + .paced(20)
        while try !isSo() {
            guard ContinuousClock.now < deadline else { throw Failure("\(what), does not come") }
            if let stop = try debugger.collectStop(timeout: .milliseconds(5)) {
                throw Failure("stopped by vCPU \(stop.vcpu) for \(stop.reason)")
            }
        }
    }

    @Test("set and deleted while the guest runs")
    func whileRunning() throws {
        let tiny = try TinyGuest(vcpus: 2)
        let image = try raw(tiny)
        do {
            let target = try tiny.attach()
            let debugger = try Debugger(target: target)
            try debugger.startContinue()
            try debugger.fillDebugRegisters(places: 3)
            for _ in 0..<20 {
                let breakpoint = try debugger.setBreakpoint(at: .linear(0x1034), isTemporary: true)
                #expect(breakpoint.mechanism != .debugRegister && breakpoint.mechanism != .stepping)
                let stop = try #require(try debugger.collectStop(timeout: .paced(10)))
                #expect(stop.reason == .breakpoint([breakpoint.number]))
                #expect(stop[stop.vcpu]?.registers.rip == 0x1034)
                try debugger.startContinue()
                let never = try debugger.setBreakpoint(at: .linear(0x1034), condition: "$bx == 9")
                _ = try debugger.collectStop(timeout: .milliseconds(3))
                try debugger.deleteBreakpoint(never.number)
                #expect(try raw(tiny) == image)
            }
            debugger.interrupt()
            _ = try debugger.collectStop(timeout: .paced(10))
        }
        // Ended without a word.
        for vcpu in 0..<2 { try waitUntilFree(tiny, vcpu) }
        try expectWhole(tiny, image)
    }

    private func waitUntilFree(_ tiny: TinyGuest, _ vcpu: Int) throws {
        let end = ContinuousClock.now + .paced(10)
        while try tiny.isTraced(vcpu) {
            guard ContinuousClock.now < end else { throw Failure("vCPU \(vcpu) is still traced") }
            usleep(500)
        }
    }

    @Test(
        "the front end ended at any moment among patches: the guest's code is whole, and its sums are right",
        arguments: [SIGKILL, SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGSEGV, SIGABRT])
    func killed(number: Int32) throws {
        let tiny = try TinyGuest(vcpus: 2, "filter", "kick")
        let image = try raw(tiny)
        var generator = SystemRandomNumberGenerator()
        let commands = Self.places.flatMap { ["-ex", "break \($0) if $bx == 9"] }
        for _ in 0..<(number == SIGKILL ? Rounds.scaled(6, full: 200) : Rounds.scaled(1, full: 10)) {
            let front = Process(of: Built.tracer.path, [])
            front.arguments? +=
                ["attach", "\(tiny.pid)", "--batch", "-ex", "stop"] + commands + ["-ex", "continue"]
            let said = Pipe()
            front.standardOutput = said
            front.standardError = said
            front.standardInput = FileHandle.nullDevice
            front.environment = ProcessInfo.processInfo.environment.merging(
                ["SWIFT_BACKTRACE": "enable=yes,symbolicate=off"]) { $1 }
            try front.run()
            // Until the first patches are there, and then some: while they are planted, or hit.
            let deadline = ContinuousClock.now + .paced(20)
            while try raw(tiny) == image, ContinuousClock.now < deadline { usleep(200) }
            usleep(UInt32.random(in: 0...60_000, using: &generator))
            if !front.isRunning {
                let text = String(decoding: said.fileHandleForReading.availableData, as: UTF8.self)
                Issue.record("it has ended by itself: \(text)")
            }
            kill(front.processIdentifier, number)
            let end = ContinuousClock.now + .paced(20)
            while front.isRunning, ContinuousClock.now < end { usleep(1000) }
            if front.isRunning {
                Issue.record("signal \(number) did not end it")
                kill(front.processIdentifier, SIGKILL)
                front.waitUntilExit()
            }
            for vcpu in 0..<2 { try waitUntilFree(tiny, vcpu) }
            try expectWhole(tiny, image)
            let guest = try #require(GuestFinder().guest(process: tiny.pid))
            #expect(guest.obstacle == nil)
            for vcpu in guest.vcpus {
                #expect(try KernelReader.shared().guestDebug(of: tiny.pid, vcpu: vcpu.descriptor) == 0)
            }
        }
    }

    @Test(
        "a vCPU plugged in while patches stand is noticed without a stop, and comes to them as the others do")
    func pluggedInAmongPatches() throws {
        let tiny = try TinyGuest(vcpus: 1, "filter")
        let image = try raw(tiny)
        do {
            let (target, debugger) = try tiny.stopped()
            try debugger.fillDebugRegisters(places: 3)
            // Come to with another BX than 0 only: before it is noticed the new vCPU does not come by here.
            let breakpoint = try debugger.setBreakpoint(at: .linear(0x1029))
            #expect(breakpoint.mechanism != .debugRegister && breakpoint.mechanism != .stepping)
            try debugger.startContinue()
            try collecting(debugger) { try tiny.vcpu(0).rounds > 2 }
            kill(tiny.pid, SIGUSR2)
            try collecting(debugger, "that vCPU 1 is taken on") { target.vcpus.count == 2 }
            try debugger.setRegister("bx", to: 7, vcpu: 1)
            let stop = try #require(try debugger.collectStop(timeout: .paced(10)))
            #expect(stop.reason == .breakpoint([breakpoint.number]) && stop.vcpu == 1)
            #expect(stop.vcpus.map(\.id) == [0, 1])
            try debugger.deleteAllBreakpoints()
            try debugger.detach()
        }
        try expectWhole(tiny, image)
        #expect(try tiny.vcpu(1).lastCommand == 7)
    }

    /// At 7C00, over and over: calls A000 and, with another BX than 0, first loads it again from 9100.
    private static let loader: [UInt8] = {
        var image = [UInt8](repeating: 0x90, count: 0x2410)
        let code: [UInt8] = [
            0x85, 0xDB,  // again: test bx, bx
            0x74, 0x0D,  //        jz 7c11
            0xBE, 0x00, 0x91,  //  mov si, 0x9100
            0xBF, 0x00, 0xA0,  //  mov di, 0xa000
            0xB9, 0x04, 0x00,  //  mov cx, 4
            0xF3, 0xA4,  //        rep movsb
            0x31, 0xDB,  //        xor bx, bx
            0xE8, 0xEC, 0x23,  //  call 0xa000
            0xEB, 0xEA,  //        jmp again
        ]
        // inc ax; inc dx; nop; ret
        let part: [UInt8] = [0x40, 0x42, 0x90, 0xC3]
        image.replaceSubrange(0..<code.count, with: code)
        image.replaceSubrange(0x1500..<0x1504, with: part)
        image.replaceSubrange(0x2400..<0x2404, with: part)
        return image
    }()

    @Test("a breakpoint that the guest loads code over is there again while it runs, and that is told")
    func overwritten() throws {
        let tiny = try TinyGuest(vcpus: 1, image: Self.loader)
        let (_, debugger) = try tiny.stopped()
        try debugger.fillDebugRegisters(places: 3)
        let breakpoint = try debugger.setBreakpoint(at: .linear(0xA001))
        #expect(breakpoint.mechanism.isPatch && breakpoint.isUnprotected && breakpoint.isWatched)
        try debugger.setBreakpoint(breakpoint.number, ignore: 1 << 40)
        for count in 1...5 {
            try debugger.startContinue()
            let hits = try debugger.breakpoint(breakpoint.number).hits
            try collecting(debugger) { try debugger.breakpoint(breakpoint.number).hits > hits }
            try debugger.setRegister("bx", to: 1, vcpu: 0)
            try collecting(debugger) {
                try debugger.breakpoint(breakpoint.number).overwritings == count
            }
            // It is come to again.
            let then = try debugger.breakpoint(breakpoint.number).hits
            try collecting(debugger) { try debugger.breakpoint(breakpoint.number).hits > then + 1 }
            #expect(try debugger.readMemory(.physical(0xA000), count: 4).bytes == [0x40, 0x42, 0x90, 0xC3])
            debugger.interrupt()
            _ = try #require(try debugger.collectStop(timeout: .paced(10)))
        }
        try debugger.detach()
        var left = [UInt8](repeating: 0, count: 4)
        let memory = AttachedMemory(
            process: tiny.pid,
            map: GuestMemoryMap(
                regions: [
                    MemoryRegion(
                        slot: 0, gpa: 0, size: 0x10_0000, hva: try tiny.slots()[0][2], isReadOnly: false)
                ], source: .none))
        try left.withUnsafeMutableBytes { try memory.read(0xA000, into: $0) }
        #expect(left == [0x40, 0x42, 0x90, 0xC3])
        #expect(try tiny.vcpu().io == 0 && tiny.vcpu().debug == 0)
    }

    /// At 7C00, over and over: calls A000 and, with another BX than 0, first loads it from 9100. At A000 there is but a RET
    /// at first.
    private static let mover: (image: [UInt8], part: [UInt8]) = {
        // inc ax; inc dx; add si, 1; inc bp; dec bp; add si, 2; ret
        let part: [UInt8] = [0x40, 0x42, 0x83, 0xC6, 0x01, 0x45, 0x4D, 0x83, 0xC6, 0x02, 0xC3]
        var image = loader
        image[11] = UInt8(part.count)
        image.replaceSubrange(0x1500..<0x1500 + part.count, with: part)
        image.replaceSubrange(0x2400..<0x2404, with: [0xC3, 0x90, 0x90, 0x90])
        return (image + [UInt8](repeating: 0x90, count: 16), part)
    }()

    @Test(
        "a patch that the guest copies with its code is undone where it runs, and the VMM sees nothing of it")
    func copied() throws {
        let tiny = try TinyGuest(vcpus: 1, image: Self.mover.image)
        let part = Self.mover.part
        do {
            let (_, debugger) = try tiny.stopped()
            // All registers, so that the code which is about to be copied gets none.
            for place: UInt64 in [0x9000, 0x9001, 0x9002, 0x9003] where Host.registerBreakpoints > 0 {
                try debugger.setBreakpoint(at: .linear(place), needsRegister: true)
            }
            let breakpoint = try debugger.setBreakpoint(at: .linear(0x9101))
            #expect(breakpoint.mechanism.isPatch)
            try debugger.setRegister("bx", to: 1, vcpu: 0)
            try debugger.startContinue()
            try collecting(debugger) {
                try debugger.readMemory(.physical(0xA000), count: part.count).bytes == part
            }
            debugger.interrupt()
            let stop = try #require(try debugger.collectStop(timeout: .paced(10)))
            #expect(stop.undoneCopies == [0xA001])
            // It goes on there, and as it should.
            let dx = stop.vcpus[0].registers.rdx
            try debugger.startContinue()
            _ = try debugger.collectStop(timeout: .milliseconds(20))
            debugger.interrupt()
            let later = try #require(try debugger.collectStop(timeout: .paced(10)))
            #expect(later.undoneCopies.isEmpty)
            #expect(later.vcpus[0].registers.rdx != dx)
            try debugger.detach()
        }
        // The patch's OUT was never the VMM's.
        let log = try tiny.vcpu()
        #expect(log.io == 0 && log.debug == 0 && log.other == 0, "\(log)")
    }

    @Test("a vCPU plugged in after patches were deleted is taken on, and no patch is left for it to run into")
    func pluggedInAfterPatches() throws {
        let tiny = try TinyGuest(vcpus: 1, "filter")
        let image = try raw(tiny)
        do {
            let (_, debugger) = try tiny.stopped()
            try debugger.fillDebugRegisters(places: 3)
            // The new vCPU does not come by here: it is taken on before it does any harm elsewhere.
            let breakpoint = try debugger.setBreakpoint(at: .linear(0x1031), condition: "$bx == 9")
            #expect(breakpoint.mechanism != .debugRegister)
            try debugger.startContinue()
            _ = try debugger.collectStop(timeout: .milliseconds(20))
            debugger.interrupt()
            _ = try #require(try debugger.collectStop(timeout: .paced(10)))
            try debugger.deleteAllBreakpoints()
            kill(tiny.pid, SIGUSR2)
            try debugger.startContinue()
            try collecting(debugger) { try tiny.vcpu(1).rounds > 2 }
            // An edit stops and detaches all there are, the new one with them.
            try debugger.setRegister("bx", to: 7)
            let rounds = try tiny.vcpu(1).rounds
            try collecting(debugger) { try tiny.vcpu(1).rounds > rounds + 2 }
            try debugger.detach()
        }
        try expectWhole(tiny, image)
    }
}
