import Glibc
import Host
import Testing

@testable import Attach

/// What the kernel's refusals to a tracer mean.
@Suite struct TracerRefusalTests {
    @Test("a kernel that does not lift a filter")
    func suspendSeccomp() {
        expect(TracedThread.filterError(EPERM), .seccomp, "cannot be lifted", remedy: "CAP_SYS_ADMIN")
        expect(
            TracedThread.filterError(EINVAL), .seccomp, "cannot be lifted",
            remedy: "CONFIG_CHECKPOINT_RESTORE")
        expect(TracedThread.filterError(EIO), .seccomp, "cannot be lifted", remedy: "-sandbox")
    }

    @Test("a thread that may not be seized")
    func seize() {
        expect(
            TracedThread.seizeError(EPERM, 5), .notPermitted, "thread 5",
            remedy: "CAP_SYS_PTRACE (run as root)")
        #expect(TracedThread.seizeError(ESRCH, 5).code == .ended)
        #expect(TracedThread.seizeError(EIO, 5).code == .unsupported)
    }

    private func expect(
        _ error: HostGuestError, _ code: HostGuestError.Code, _ message: String, remedy: String
    ) {
        #expect(error.code == code)
        #expect(error.message.contains(message), "\(error.message)")
        #expect(error.remedy?.contains(remedy) == true, "\(error.remedy ?? "-")")
    }
}
