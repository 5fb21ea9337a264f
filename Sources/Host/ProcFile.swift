import Glibc
import SystemPackage

/// Small files of /proc, read whole.
enum ProcFile {
    /// What these files hold is far shorter; more is cut.
    private static let limit = 64 * 1024

    /// The file's text, or nil if it cannot be read: the thread may have ended.
    static func text(_ path: String) -> String? {
        guard let file = try? FileDescriptor.open(FilePath(path), .readOnly, options: .closeOnExec) else {
            return nil
        }
        defer { try? file.close() }
        var bytes = [UInt8]()
        while bytes.count < limit {
            let chunk = try? [UInt8](unsafeUninitializedCapacity: 4096) { buffer, count in
                // SAFETY: the buffer has room for 4096 bytes, and read() reports how many it has filled.
                count = try file.read(into: UnsafeMutableRawBufferPointer(buffer))
            }
            guard let chunk else { return nil }
            if chunk.isEmpty { break }
            bytes += chunk
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension ThreadSample {
    /// Samples a thread now. Nil if it is gone or /proc does not show it.
    public init?(process: Int32, thread: Int32) {
        let folder = "/proc/\(process)/task/\(thread)/"
        guard let stat = ProcFile.text(folder + "stat"), let status = ProcFile.text(folder + "status") else {
            return nil
        }
        var now = timespec()
        guard clock_gettime(CLOCK_MONOTONIC, &now) == 0 else { return nil }
        self.init(
            time: UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec), stat: stat, status: status,
            schedstat: ProcFile.text(folder + "schedstat"))
    }

    /// The unit of the tick counts: how many there are in a second.
    public static var ticksPerSecond: UInt64 { UInt64(max(1, sysconf(Int32(_SC_CLK_TCK)))) }
}
