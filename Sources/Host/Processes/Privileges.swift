import Glibc

/// What this process may do to others: its capabilities, its user, and the host's rule for ptrace.
struct Privileges: Sendable {
    /// Numbers of <linux/capability.h>.
    enum Capability: UInt64, Sendable {
        case ptrace = 19
        case systemAdministration = 21
        case perfMonitoring = 38
        case bpf = 39
    }

    var effective: UInt64
    var user: UInt32
    /// kernel.yama.ptrace_scope; 0 where there is no such setting.
    var ptraceScope: Int

    init(effective: UInt64, user: UInt32, ptraceScope: Int) {
        self.effective = effective
        self.user = user
        self.ptraceScope = ptraceScope
    }

    init() {
        let status = ProcessFiles(getpid()).text("status") ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix("CapEff:") } ?? ""
        let scope = ProcessFiles.bytes("/proc/sys/kernel/yama/ptrace_scope").map {
            String(decoding: $0, as: UTF8.self)
        }
        self.init(
            effective: UInt64(line.dropFirst(7).drop { $0 == "\t" || $0 == " " }, radix: 16) ?? 0,
            user: geteuid(), ptraceScope: scope.flatMap { Int($0.prefix { $0.isNumber }) } ?? 0)
    }

    func has(_ capability: Capability) -> Bool { effective >> capability.rawValue & 1 == 1 }

    /// Capabilities that loading BPF programs which read the kernel needs and that are not there. CAP_SYS_ADMIN has
    /// both. Source: capabilities(7).
    var missingForBPF: [String] {
        if has(.systemAdministration) { return [] }
        return (has(.bpf) ? [] : ["CAP_BPF"]) + (has(.perfMonitoring) ? [] : ["CAP_PERFMON"])
    }

    /// Why ptrace of a process with this status would be refused. Source: ptrace(2), "Ptrace access mode
    /// checking" and "/proc/sys/kernel/yama/ptrace_scope".
    func obstacle(to status: ProcessStatus, process: Int32) -> HostGuestError? {
        if ptraceScope >= 3 {
            return HostGuestError(
                .notPermitted, "this host forbids tracing altogether (kernel.yama.ptrace_scope is 3)",
                remedy: "it can only be changed at boot: start the host without it")
        }
        if has(.ptrace) { return nil }
        if status.effectiveUser != user {
            return HostGuestError(
                .notPermitted,
                "process \(process) belongs to user \(status.effectiveUser), kvmscope runs as \(user)",
                remedy: "run kvmscope as that user or as root (CAP_SYS_PTRACE)")
        }
        if ptraceScope >= 1 {
            return HostGuestError(
                .notPermitted,
                "this host lets only a parent trace a process (kernel.yama.ptrace_scope is \(ptraceScope))",
                remedy: "run kvmscope as root (CAP_SYS_PTRACE), or `sysctl kernel.yama.ptrace_scope=0`")
        }
        return nil
    }
}

extension ProcessFiles {
    /// The first bytes of a file; fewer if it is shorter, nil if it cannot be opened.
    package static func head(_ path: String, count: Int) -> [UInt8]? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: count)
        // SAFETY: `bytes` has room for `count` bytes.
        let got = read(file, &bytes, count)
        return got >= 0 ? Array(bytes.prefix(got)) : nil
    }
}
