import Glibc
import KVMCore
import SystemPackage

/// The files of /proc/PID, read whole. A process may go away between any two reads: then they are nil.
package struct ProcessFiles: Sendable {
    package let process: Int32
    private var root: String { "/proc/\(process)" }

    package init(_ process: Int32) { self.process = process }

    /// A file's bytes, cut at about `limit`; nil if it cannot be read.
    package static func bytes(_ path: String, limit: Int = 4 << 20) -> [UInt8]? {
        guard let file = try? FileDescriptor.open(FilePath(path), .readOnly, options: .closeOnExec) else {
            return nil
        }
        defer { try? file.close() }
        var bytes = [UInt8]()
        // Files of /proc say 0; those that say how long they are may be long.
        var status = stat()
        if fstat(file.rawValue, &status) == 0, status.st_size > 65536 {
            return whole(file, min(limit, Int(status.st_size)))
        }
        while bytes.count < limit {
            let chunk = try? [UInt8](unsafeUninitializedCapacity: 65536) { buffer, count in
                // SAFETY: the buffer has room for 65536 bytes, and read() reports how many it has filled.
                count = try file.read(into: UnsafeMutableRawBufferPointer(buffer))
            }
            guard let chunk else { return nil }
            if chunk.isEmpty { break }
            bytes += chunk
        }
        return bytes
    }

    /// A file of a known size, read in place: the kernel gives no more than a page at a time of some.
    private static func whole(_ file: FileDescriptor, _ size: Int) -> [UInt8]? {
        try? [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            let raw = UnsafeMutableRawBufferPointer(buffer)
            while count < size {
                // SAFETY: the rest of the buffer, which has room for `size` bytes.
                let got = try file.read(into: UnsafeMutableRawBufferPointer(rebasing: raw[count..<size]))
                if got == 0 { break }
                count += got
            }
        }
    }

    /// `name` is relative to /proc/PID.
    package func text(_ name: String) -> String? {
        Self.bytes("\(root)/\(name)").map { String(decoding: $0, as: UTF8.self) }
    }

    /// What the kernel says a thread does, by its letter in `stat`: `T` is stopped by a signal, `Z` has ended. Nil where
    /// there is no such thread.
    package func state(thread: Int32? = nil) -> Character? { fields(thread ?? process)?.first?.first }

    /// When it began, in clock ticks since the host's start: with the id it names a process for good. Nil where there is
    /// none. Source: proc(5), field 22 of `stat`.
    package var startTime: UInt64? { fields(process).flatMap { $0.count > 19 ? UInt64($0[19]) : nil } }

    /// The process that has this thread; nil where there is none.
    package static func process(of thread: Int32) -> Int32? {
        ProcessFiles(thread).text("status")?.split(separator: "\n").first { $0.hasPrefix("Tgid:") }
            .flatMap { Int32($0.dropFirst(5).drop { $0.isWhitespace }) }
    }

    /// What stands in a thread's `stat` after its name.
    private func fields(_ thread: Int32) -> [Substring]? {
        guard let stat = text("task/\(thread)/stat"), let end = stat.lastIndex(of: ")") else { return nil }
        return stat[stat.index(after: end)...].split(separator: " ")
    }

    /// A thread that is there no more, or has nothing left to do but to end: it is on its way (PF_EXITING of
    /// <linux/sched.h>), or SIGKILL waits for it, as it does for each thread of a process that is killed or exits.
    package func isEnding(thread: Int32) -> Bool {
        guard let fields = fields(thread), fields.count > 6, let flags = UInt64(fields[6]),
            let status = text("task/\(thread)/status").flatMap(ProcessStatus.init)
        else { return true }
        return ["Z", "X"].contains(fields[0]) || flags & 4 != 0
            || status.pendingSignals & 1 << (UInt64(SIGKILL) - 1) != 0
    }

    /// Whether a thread runs the kernel's code alone, as those that KVM, vhost and io_uring hang under a process do: none
    /// of them stops for a tracer. Nil where there is no such thread. Source: PF_IO_WORKER, PF_USER_WORKER and PF_KTHREAD
    /// of <linux/sched.h>, in field 9 of `stat` (proc(5)).
    package func isKernels(thread: Int32) -> Bool? {
        guard let fields = fields(thread), fields.count > 6, let flags = UInt64(fields[6]) else { return nil }
        return flags & 0x20_4010 != 0
    }

    /// The threads that run the process's own code.
    var ownThreads: [Int32] { threads.filter { isKernels(thread: $0) == false } }

    /// The system call that a thread is in, and how the kernel has it there, for people.
    package func place(of thread: Int32) -> String {
        let state = state(thread: thread).map(String.init) ?? "gone"
        return switch text("task/\(thread)/syscall").flatMap(ThreadSyscall.init) {
        case .inCall(let number, _, _, _): "in \(SystemCall.name(number)), state \(state)"
        case .running: "running"
        case .blocked, nil: "state \(state)"
        }
    }

    /// The command line, an argument each.
    package var arguments: [String] {
        guard let bytes = Self.bytes("\(root)/cmdline") else { return [] }
        return bytes.split(separator: 0, omittingEmptySubsequences: false).dropLast().map {
            String(decoding: $0, as: UTF8.self)
        }
    }

    /// Where a link of /proc/PID points.
    package func link(_ name: String) -> String? { Self.link("\(root)/\(name)") }

    package static func link(_ path: String) -> String? {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink(path, &buffer, buffer.count)
        guard count > 0 else { return nil }
        return String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The numbers that name the entries of a folder: descriptors, threads, processes. Nil if it is not readable.
    package static func numbers(in folder: String) -> [Int32]? {
        names(in: folder)?.compactMap { Int32($0) }.sorted()
    }

    /// The entries of a folder. Nil if it is not readable.
    package static func names(in folder: String) -> [String]? {
        guard let stream = opendir(folder) else { return nil }
        defer { closedir(stream) }
        var names = [String]()
        while let entry = readdir(stream) {
            // SAFETY: d_name ends with a zero byte inside the entry, which lives until the next readdir.
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    package var threads: [Int32] { Self.numbers(in: "\(root)/task") ?? [] }

    /// What its descriptors are; none where that may not be seen.
    var descriptorLinks: [String] { (Self.numbers(in: "\(root)/fd") ?? []).compactMap { link("fd/\($0)") } }

    /// The KVM descriptors; nil if another user's process hides them.
    package var kvmDescriptors: [(descriptor: Int32, kind: KVMDescriptor)]? {
        guard let numbers = Self.numbers(in: "\(root)/fd") else { return nil }
        return numbers.compactMap { number in
            link("fd/\(number)").flatMap(KVMDescriptor.init(link:)).map { (number, $0) }
        }
    }
}

/// What a descriptor's link in /proc/PID/fd says of KVM.
package enum KVMDescriptor: Sendable, Hashable {
    case vm
    case vcpu(id: Int)
    /// A vCPU's counters, of `KVM_GET_STATS_FD`: `kvm-vcpu-stats:N`.
    case vcpuStatistics
    /// A VM's counters (`kvm-vm-stats`) or a device.
    case other

    package init?(link: String) {
        let prefix = "anon_inode:"
        guard link.hasPrefix(prefix) else { return nil }
        // Some kernels put the name in brackets.
        let name = link.dropFirst(prefix.count).drop { $0 == "[" }.prefix { $0 != "]" }
        guard name.hasPrefix("kvm-") else { return nil }
        if name == "kvm-vm" {
            self = .vm
        } else if name.hasPrefix("kvm-vcpu:"), let id = Int(name.dropFirst("kvm-vcpu:".count)), id >= 0 {
            self = .vcpu(id: id)
        } else if name.hasPrefix("kvm-vcpu-stats") {
            self = .vcpuStatistics
        } else {
            self = .other
        }
    }
}

/// The fields of /proc/PID/status (or of a thread's) that matter here. Source: proc(5).
package struct ProcessStatus: Sendable, Hashable {
    package var tracer: Int32
    /// 0 none, 1 strict, 2 filter.
    package var seccomp: Int
    var effectiveUser: UInt32
    /// A bit each signal, signal 1 in bit 0.
    package var caughtSignals: UInt64
    /// Those that wait for the thread.
    var pendingSignals: UInt64

    package init?(_ text: String) {
        var fields = [Substring: Substring]()
        for line in text.split(separator: "\n") {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let value = line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
            fields[line[..<colon]] = value
        }
        guard let tracer = fields["TracerPid"].flatMap({ Int32($0) }),
            let users = fields["Uid"]?.split(whereSeparator: \.isWhitespace), users.count >= 2,
            let user = UInt32(users[1])
        else { return nil }
        self.tracer = tracer
        effectiveUser = user
        seccomp = fields["Seccomp"].flatMap { Int($0) } ?? 0
        caughtSignals = fields["SigCgt"].flatMap { UInt64($0, radix: 16) } ?? 0
        pendingSignals = fields["SigPnd"].flatMap { UInt64($0, radix: 16) } ?? 0
    }
}

/// /proc/PID/task/TID/syscall. Source: proc(5).
package enum ThreadSyscall: Sendable, Hashable {
    /// On a processor now; the kernel does not say in which call.
    case running
    case inCall(number: Int, arguments: [UInt64], stackPointer: UInt64, programCounter: UInt64)
    /// Blocked, but in no call.
    case blocked

    package init?(_ text: String) {
        let fields = text.split(whereSeparator: \.isWhitespace)
        func hexadecimal(_ text: Substring) -> UInt64? {
            text.hasPrefix("0x") ? UInt64(text.dropFirst(2), radix: 16) : nil
        }
        guard let first = fields.first else { return nil }
        if first == "running" {
            self = .running
        } else if first == "-1" {
            self = .blocked
        } else {
            let values = fields.dropFirst().compactMap(hexadecimal)
            guard let number = Int(first), fields.count == 9, values.count == 8 else { return nil }
            self = .inCall(
                number: number, arguments: Array(values[..<6]), stackPointer: values[6],
                programCounter: values[7])
        }
    }

    /// ioctl(descriptor, KVM_RUN): the descriptor.
    package var runDescriptor: Int32? {
        guard case .inCall(let number, let arguments, _, _) = self, number == SystemCall.ioctl,
            UInt32(truncatingIfNeeded: arguments[1]) == SystemCall.kvmRun
        else { return nil }
        return Int32(truncatingIfNeeded: arguments[0])
    }
}

/// Numbers of the x86-64 system calls that matter here.
package enum SystemCall {
    package static let close = 3
    package static let setSignalAction = 13
    package static let ioctl = 16
    package static let kvmRun = Request.run.command

    /// Those in which threads of VMMs wait; a number for any other.
    package static func name(_ number: Int) -> String {
        let names = [
            0: "read", 7: "poll", 16: "ioctl", 23: "select", 34: "pause", 35: "nanosleep",
            128: "rt_sigtimedwait",
            202: "futex", 230: "clock_nanosleep", 232: "epoll_wait", 270: "pselect6", 271: "ppoll",
            281: "epoll_pwait", 449: "futex_waitv",
        ]
        return names[number] ?? "system call \(number)"
    }
}
