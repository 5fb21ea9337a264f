import Glibc

/// Why another program's guest cannot be found, looked into or attached to, or an act on it not be done: what, and the
/// remedy.
public struct HostGuestError: Error, Sendable, Hashable, CustomStringConvertible {
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
        /// Another kvmscope is attached to it.
        case attachedElsewhere
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
        /// The VMM changed its own code, so that nothing can be called in its name any more.
        case astray
        /// A call made in its name has not come back yet.
        case away
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

    package static func ended(_ process: Int32) -> HostGuestError {
        HostGuestError(.ended, "the VMM (process \(process)) has ended")
    }

    /// Something of another process could not be had. Where this process has no descriptor left, that is why; else the
    /// host does not permit it.
    package static func denied(
        _ message: String, as code: Code = .notPermitted,
        remedy: String? =
            "it needs CAP_SYS_PTRACE (run as root), or the same user and kernel.yama.ptrace_scope=0"
    ) -> HostGuestError {
        // One that needs no right at all.
        let descriptor = open("/", O_RDONLY | O_CLOEXEC)
        let reason = errno
        guard descriptor < 0, reason == EMFILE || reason == ENFILE else {
            if descriptor >= 0 { close(descriptor) }
            return HostGuestError(code, message, remedy: remedy)
        }
        let isHost = reason == ENFILE
        return HostGuestError(
            .unsupported,
            "there are too few file descriptors: "
                + (isHost
                    ? "those of the host are all in use"
                    : "kvmscope may have \(sysconf(Int32(_SC_OPEN_MAX)))"),
            remedy: isHost ? "raise fs.file-max" : "raise the limit (`ulimit -n 1024`)")
    }

    public var description: String {
        guard let remedy else { return message }
        return "\(message); \(remedy)"
    }
}
