import Commands
import Debugger
import TargetConformance
import Testing
import X86

@testable import GuestView

/// What is looked for in memory and code for the panes, in a guest without KVM.
@Suite struct SearchTests {
    @Test(arguments: [
        ("Breakpoint 1.", "breakpoint 1"), ("KVM failed: x. y", "KVM failed: x"),
        ("QEMU keeps vCPU 0 from running", "QEMU keeps vCPU 0 from running"), ("A", "a"), ("", ""),
    ])
    func titles(_ sentence: String, _ title: String) { #expect(Gatherer.title(sentence) == title) }

    private func session(_ code: [UInt8], vcpus: Int = 1) throws -> Session {
        let debugger = try Debugger(target: FakeTarget(vcpus: vcpus))
        try debugger.writeMemory(.physical(0x7C00), code)
        return Session(debugger: debugger)
    }

    private func found(_ outcome: SearchOutcome) -> UInt64? {
        if case .found(let place) = outcome { place.offset } else { nil }
    }

    @Test(arguments: [
        ("55 aa", 0x7DFE as UInt64?), ("0xaa55", 0x7DFE), ("needle", 0x9000), ("NEEDLE", nil),
        ("6e 65 65 64", 0x9000), ("0x6465656e", 0x9000), ("64 6c 65 00", 0x9003), ("\"", nil),
    ]) func bytesAreFound(_ text: String, _ place: UInt64?) throws {
        let session = try session([0x90])
        try session.debugger.writeMemory(.physical(0x7DFE), [0x55, 0xAA])
        try session.debugger.writeMemory(.physical(0x9000), Array("needle".utf8))
        let gatherer = Gatherer(session: session)
        #expect(found(gatherer.find(bytes: text, after: MemoryPlace(space: .physical, offset: 0))) == place)
    }

    /// Again: the next one, also one that overlaps; and not the one that it began at.
    @Test func theNextBytesAreFound() throws {
        let session = try session([0x90])
        try session.debugger.writeMemory(.physical(0x9000), Array("ababa".utf8))
        let gatherer = Gatherer(session: session)
        let first = MemoryPlace(space: .linear, offset: 0x9000)
        #expect(found(gatherer.find(bytes: "aba", after: first)) == 0x9002)
        guard case .notFound(let why) = gatherer.find(bytes: "aba", after: first.moved(by: 2)) else {
            Issue.record("found once more")
            return
        }
        #expect(why.contains("not found"))
        #expect(found(gatherer.find(bytes: "", after: first)) == nil)
    }

    @Test func instructionsAreFound() throws {
        let session = try session([0x90, 0x40, 0xCD, 0x10, 0x90, 0xCD, 0x13])
        let gatherer = Gatherer(session: session)
        #expect(found(gatherer.find(instruction: "INT", after: 0x7C00)) == 0x7C02)
        #expect(found(gatherer.find(instruction: "int", after: 0x7C02)) == 0x7C05)
        #expect(found(gatherer.find(instruction: "vmlaunch", after: 0x7C00)) == nil)
    }
}
