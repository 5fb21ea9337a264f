import Testing

@testable import Attach

@Suite struct DebuggerClaimTests {
    @Test("the process that has a lock is found by device and inode, and one that waits is not it")
    func holder() {
        let locks = """
            1: POSIX  ADVISORY  WRITE 41 00:15:207723 0 EOF
            2: FLOCK  ADVISORY  WRITE 42 fe:00:207723 0 EOF
            3: -> FLOCK  ADVISORY  WRITE 43 00:15:207723 0 EOF
            4: FLOCK  ADVISORY  WRITE 7195 00:15:207723 0 EOF
            5: FLOCK  ADVISORY  WRITE 0 00:15:9 0 EOF
            6: FLOCK
            """
        #expect(DebuggerClaim.holder(locks: locks, device: 0x15, inode: 207_723) == 7195)
        #expect(DebuggerClaim.holder(locks: locks, device: 0xFE00, inode: 207_723) == 42)
        #expect(DebuggerClaim.holder(locks: locks, device: 0x15, inode: 9) == nil)
        #expect(DebuggerClaim.holder(locks: locks, device: 0x15, inode: 8) == nil)
        #expect(DebuggerClaim.holder(locks: "", device: 0x15, inode: 8) == nil)
    }
}
