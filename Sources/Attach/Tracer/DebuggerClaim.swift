import CLinux
import Glibc
import Host

/// One debugger at a time: a second one would take what the first has changed for the VMM's own, and put that back.
///
/// The claim is the lock on /proc/PID/mem. It goes with the process that has it, by whatever end.
struct DebuggerClaim: ~Copyable {
    private let descriptor: Int32

    /// How long another one that is about to end may take, in nanoseconds.
    private static let waitLimit: UInt64 = 500_000_000

    init(_ process: Int32) throws(HostGuestError) {
        var result = clinux_claim(process)
        var budget = WaitBudget(Self.waitLimit)
        while result == -EAGAIN, !budget.isOver() {
            usleep(5000)
            result = clinux_claim(process)
        }
        if result == -EAGAIN {
            let holder = Self.holder(process)
            throw HostGuestError(
                .attachedElsewhere,
                "another kvmscope is attached to process \(process)"
                    + (holder.map { " (its tracer is process \($0))" } ?? ""),
                remedy: holder.map {
                    "if no kvmscope is there any more, kill \($0) in a shell ends what it has left"
                })
        }
        guard result >= 0 else {
            throw HostGuestError.denied(
                "the memory of process \(process) may not be opened (\(String(cString: strerror(-result))))")
        }
        descriptor = result
    }

    deinit { close(descriptor) }

    private static func holder(_ process: Int32) -> Int32? {
        var facts = stat()
        guard stat("/proc/\(process)/mem", &facts) == 0, let locks = ProcessFiles.bytes("/proc/locks") else {
            return nil
        }
        return holder(
            locks: String(decoding: locks, as: UTF8.self), device: UInt64(facts.st_dev),
            inode: UInt64(facts.st_ino))
    }

    /// The process that has the lock on a file. Source: /proc/locks in proc(5); `lock_get_status` in fs/locks.c, which
    /// prints major and minor number in hexadecimal and the inode in decimal.
    static func holder(locks: String, device: UInt64, inode: UInt64) -> Int32? {
        let major = device >> 8 & 0xFFF
        let minor = device & 0xFF | device >> 12 & 0xF_FF00
        for line in locks.split(separator: "\n") {
            // `1: FLOCK  ADVISORY  WRITE 7195 00:15:207723 0 EOF`; one that waits has an arrow after the number.
            let fields = line.split(separator: " ")
            guard fields.count >= 6, fields[1] == "FLOCK" else { continue }
            let file = fields[5].split(separator: ":")
            guard file.count == 3, UInt64(file[0], radix: 16) == major, UInt64(file[1], radix: 16) == minor,
                UInt64(file[2]) == inode, let holder = Int32(fields[4]), holder > 0
            else { continue }
            return holder
        }
        return nil
    }
}
