import Glibc

/// Why another program's guest cannot be attached to, or an act on it not be done: what, and the remedy.
public struct AttachError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What kind of refusal it is.
    public enum Code: String, Sendable, Hashable {
        /// The process is gone, or never was.
        case noProcess
        /// The process has no KVM guest.
        case noGuest
        /// Several guests fit what was asked for.
        case ambiguous
        /// It is kvmscope itself.
        case ownProcess
        /// The host does not permit it to this user.
        case notPermitted
        /// Another debugger traces the VMM.
        case traced
        /// The VMM uses guest debug itself.
        case guestDebugInUse
        /// The VMM's vCPU threads have a seccomp filter that cannot be lifted.
        case seccomp
        /// A 32-bit VMM.
        case bits32
        /// An encrypted guest.
        case encrypted
        /// A vCPU has no thread, or does not get to KVM_RUN.
        case notRunning
        /// The kernel or the host lacks what is needed.
        case unsupported
        /// The tracer is gone, or said what makes no sense.
        case tracer
        /// The VMM ended.
        case ended
        /// The guest was detached.
        case detached
        /// A program cannot be started, or does not become a guest.
        case launch
    }
    public var code: Code
    public var message: String
    /// What to do about it.
    public var remedy: String?

    public init(_ code: Code, _ message: String, remedy: String? = nil) {
        self.code = code
        self.message = message
        self.remedy = remedy
    }

    static func ended(_ process: Int32) -> AttachError {
        AttachError(.ended, "the VMM (process \(process)) has ended")
    }

    /// Why a descriptor of the VMM was not fetched (pidfd_getfd(2)).
    static func fetching(_ what: String, _ errno: Int32) -> AttachError {
        let reason = String(cString: strerror(errno))
        switch errno {
        case EMFILE, ENFILE:
            return AttachError(
                .unsupported, "\(what) cannot be fetched: \(reason)",
                remedy: errno == EMFILE
                    ? "raise `ulimit -n`, as each vCPU and each memslot takes descriptors"
                    : "the host has no more files to open (fs.file-max)")
        default:
            return AttachError(
                .notPermitted, "\(what) may not be fetched (\(reason))",
                remedy:
                    "it needs CAP_SYS_PTRACE (run as root), or the same user and kernel.yama.ptrace_scope=0")
        }
    }

    public var description: String {
        guard let remedy else { return message }
        return "\(message); \(remedy)"
    }
}
