import DebugTarget
import Debugger
import Glibc
import KVMCore
import TargetConformance
import Testing
import X86

@testable import Machine

/// A guest that is started again is as it was made, whatever became of it.
@Suite(.enabled(if: isLive, "needs /dev/kvm"), .serialized)
struct RestartLiveTests {
    /// What a vCPU holds, of what can be read.
    private struct State: Equatable, Sendable {
        var general: GeneralRegisters
        var special: SpecialRegisters
        var debug: DebugRegisters
        var events: VCPUEvents
        var mp: MPState
        var xsave: XSAVEArea?
        var xcrs: [XCR]
        var msrs: [UInt32: UInt64]
        var apic: [UInt8]
    }

    private func state(_ machine: OwnedMachine, _ id: Int) throws -> State {
        // Those that time itself changes.
        let indexes = machine.msrIndexes.filter { ![0x10, 0x4B56_4D01, 0x4B56_4D00].contains($0) }
        let hasAPIC = machine.hasInterruptControllers
        return try machine.withVCPU(id) { access in
            let vcpu = try #require(access as? VCPU)
            var events = try vcpu.events()
            // Where an exception was given up, and nothing else.
            events.exceptionVector = 0
            var apic = hasAPIC ? try vcpu.localAPIC().bytes : []
            // The timer's current count.
            if hasAPIC { apic.replaceSubrange(0x390..<0x394, with: [0, 0, 0, 0]) }
            return State(
                general: try vcpu.registers(), special: try vcpu.specialRegisters(),
                debug: try vcpu.debugRegisters(), events: events, mp: try vcpu.mpState(),
                xsave: try? vcpu.xsave(), xcrs: (try? vcpu.xcrs()) ?? [],
                msrs: Dictionary(
                    uniqueKeysWithValues: indexes.compactMap { index in
                        (try? vcpu.msr(index)).map { (index, $0) }
                    }), apic: apic)
        }
    }

    private func pages(_ machine: OwnedMachine) throws -> [UInt64] {
        var used: [UInt64] = []
        var bytes = [UInt8](repeating: 0, count: 4096)
        let zeros = bytes
        for region in machine.memory.regions {
            for page in stride(from: region.gpa, to: region.gpa + region.size, by: 4096) {
                try bytes.withUnsafeMutableBytes { try machine.memory.read(page, into: $0) }
                // There are a thousand pages, and a closure for each byte takes half a minute on an emulated processor.
                if memcmp(bytes, zeros, bytes.count) != 0 { used.append(page) }
            }
        }
        return used
    }

    /// What the example needs of this host.
    private func needs(_ name: String) throws {
        guard name == "triplefault", !HostTrial.runsAfterShutdown else { return }
        let missing = "a vCPU that runs again after a triple fault"
        // A cancelled case has no line of its own.
        print("declared away: needs \(missing)")
        try Test.cancel("needs: \(missing)")
    }

    @Test(arguments: ["boot", "twostage", "triplefault", "smp", "exits"], [false, true])
    func everythingIsAsItWasMade(_ name: String, _ hasChips: Bool) throws {
        try needs(name)
        let machine = try machine(name) {
            $0.ramSize = 4 << 20
            $0.interruptController = hasChips ? .kernel : .none
        }
        let before = try machine.vcpus.map { try state(machine, $0.id) }
        let memory = try pages(machine)
        try machine.go()
        // However far it has come by then: some of them do not end.
        if machine.waitForStop(timeout: .seconds(2)) == nil {
            machine.interrupt()
            _ = try #require(machine.waitForStop(timeout: .paced(60)))
        }
        try machine.restart()
        for (identity, before) in zip(machine.vcpus, before) {
            let after = try state(machine, identity.id)
            #expect(after.general == before.general)
            #expect(after.special == before.special)
            #expect(after.debug == before.debug)
            #expect(after.events == before.events)
            #expect(after.mp == before.mp)
            #expect(after.xsave == before.xsave)
            #expect(after.xcrs == before.xcrs)
            // Hyper-V's VP_RUNTIME and TIME_REF_COUNT go on by themselves (TLFS 11.3, 12.2).
            let counters: Set<UInt32> = [0x4000_0010, 0x4000_0020]
            for (index, value) in before.msrs where !counters.contains(index) {
                #expect(after.msrs[index] == value, "MSR \(String(index, radix: 16))")
            }
            #expect(after.msrs.count == before.msrs.count)
            #expect(after.apic == before.apic)
        }
        #expect(try pages(machine) == memory)
    }

    /// The second run does what the first did.
    @Test(arguments: ["boot", "triplefault", "twostage"])
    func itRunsAgain(_ name: String) throws {
        try needs(name)
        let debugger = try Debugger(target: try machine(name))
        let first = try debugger.continueRun()
        for _ in 0..<3 {
            try debugger.startRunAgain()
            let again = try #require(try debugger.collectStop(timeout: .paced(60)))
            #expect(again.reason == first.reason)
            #expect(again.vcpus.map(\.registers.rip) == first.vcpus.map(\.registers.rip))
        }
    }

    /// Hosts on SVM reset a vCPU that shuts down: run again, stepping, it ends with what is explained on every host.
    @Test func aTripleFaultIsExplainedBySteppingFromTheStart() throws {
        try needs("triplefault")
        let debugger = try Debugger(target: try machine("triplefault"))
        #expect(try debugger.continueRun().reason == .tripleFault)
        try debugger.startSteppingAgain()
        let stop = try #require(try debugger.collectStop(timeout: .paced(60)))
        #expect(stop.reason == .tripleFault)
        let box = try debugger.blackBox(limit: 5)
        let fault = try #require(box.fault)
        #expect(fault.origin != .lost)
        #expect(fault.code?.text == "ud2")
        #expect(fault.chain.links.map(\.vector) == [6, 13, 13, 8, 13], "\(fault.chain)")
        #expect(fault.chain.end == .shutdown)
        #expect(box.steps.last?.code.text == "ud2")
        #expect(fault.registers.rax == 0x3333_3333)
    }

    /// Breakpoints of each kind, patches among them, and a watchpoint: at each start anew, the image clean beneath.
    @Test func breakpointsAreKept() throws {
        // mov al, 1; mov [0x9000], al; nop x 5; hlt
        let code: [UInt8] = [0xB0, 1, 0xA2, 0, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0xF4]
        let machine = try machine(code: code)
        let debugger = try Debugger(target: machine)
        for place in 5..<10 { try debugger.setBreakpoint(at: .linear(UInt64(0x7C00 + place))) }
        try debugger.setWatchpoint(at: .linear(0x9000), length: 1, access: .write)
        for _ in 0..<3 {
            try debugger.startRunAgain()
            let watched = try #require(try debugger.collectStop(timeout: .paced(60)))
            guard case .watchpoint = watched.reason else {
                Issue.record("\(watched.reason)")
                return
            }
            #expect(watched.lost.isEmpty)
            for place in 6..<10 {
                let stop = try debugger.continueRun()
                #expect(stop.vcpus[0].registers.rip == UInt64(0x7C00 + place), "\(stop.reason)")
            }
            #expect(try debugger.continueRun().reason == .hlt)
        }
        try debugger.restart()
        try debugger.deleteAllBreakpoints()
        var bytes = [UInt8](repeating: 0, count: code.count)
        try bytes.withUnsafeMutableBytes { try machine.memory.read(0x7C00, into: $0) }
        #expect(bytes == code)
    }

    /// The keyboard controller's pulse and port CF9h: the guest stops, and goes on from the start.
    @Test(
        arguments: [
            // mov al, 0xFE; out 0x64, al; hlt
            ([0xB0, 0xFE, 0xE6, 0x64, 0xF4], GuestReset(.keyboardController, value: 0xFE)),
            // mov dx, 0xCF9; mov al, 6; out dx, al; hlt
            ([0xBA, 0xF9, 0x0C, 0xB0, 0x06, 0xEE, 0xF4], GuestReset(.resetControl, value: 6)),
        ] as [([UInt8], GuestReset)])
    func aGuestThatResetsItself(_ code: [UInt8], _ reset: GuestReset) throws {
        let debugger = try Debugger(target: try machine(code: code))
        for _ in 0..<3 {
            #expect(try debugger.continueRun().reason == .guestReset(reset))
        }
        try debugger.step()
        #expect(debugger.stop.vcpus[0].registers.rip == (code[0] == 0xBA ? 0x7C03 : 0x7C02))
    }

    @Test func aFileThatChangedIsReadAnew() throws {
        let folder = try Folder()
        let path = try folder.file("a", [0xB0, 1, 0xF4])
        var configuration = MachineConfiguration()
        configuration.source = ImageRequest(path: path)
        let machine = try OwnedMachine(configuration)
        let debugger = try Debugger(target: machine)
        #expect(try debugger.continueRun().vcpus[0].registers.rax & 0xFF == 1)
        _ = try folder.file("a", [0xB0, 2, 0x90, 0xF4])
        try debugger.startRunAgain()
        #expect(
            try #require(try debugger.collectStop(timeout: .paced(60))).vcpus[0].registers.rax & 0xFF == 2)
        #expect(machine.loadedImage?.parts.map(\.size) == [4])
        // One that has become something else is refused, and nothing has changed.
        _ = try folder.file("a", [UInt8](repeating: 0x90, count: 1000))
        #expect(throws: DebuggerError.self) { try debugger.restart() }
        #expect(debugger.selected.registers.rax & 0xFF == 2)
        #expect(machine.loadedImage?.parts.map(\.size) == [4])
    }
}
