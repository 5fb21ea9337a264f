import Testing

@testable import Attach

@Suite("What of a tracer is to be put back by another one")
struct RecoveryJournalTests {
    @Test("what is to be put back is what was told last")
    func journal() {
        var journal = RecoveryJournal()
        let attach = TracerRequest.attach(
            process: 7, mappingSize: 8192, syncMask: 3,
            vcpus: [.init(id: 0, descriptor: 13, thread: 8), .init(id: 1, descriptor: 14, thread: 9)])
        journal.note(attach, .attached([5, 0]))
        journal.note(.add(vcpus: [.init(id: 2, descriptor: 15, thread: 0)]), .attached([1]))
        #expect(journal.vcpus.map(\.legacy?.validRegisters) == [5, 0, 1])
        journal.note(.patch(gpa: 0x1000, patch: 0xE6, hidden: [1, 2]))
        journal.note(.unpatch(gpa: 0x1001, count: 1))
        #expect(journal.patches.count == 1 && journal.patches[0x1000]?.hidden == 1)
        // Guest debug may be on from the moment at which that is asked for, until it is off.
        func debug(_ control: UInt8) -> TracerRequest {
            .callBytes(descriptor: 14, request: TracedThread.setGuestDebug, argument: [control, 0, 0, 0])
        }
        journal.note(debug(1))
        #expect(journal.armed == [14])
        journal.note(debug(0), .called(result: -22, argument: [], indirect: []))
        #expect(journal.armed == [14])
        journal.note(debug(0), .called(result: 0, argument: [], indirect: []))
        #expect(journal.armed == [])
        journal.note(.detach, .released(threads: 2, guestDebug: 0, pages: 2, patches: 0, stood: 0))
        #expect(journal.vcpus.isEmpty && journal.patches.isEmpty)
    }
}
