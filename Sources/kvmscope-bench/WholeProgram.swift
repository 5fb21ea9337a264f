import CBench
import Commands
import Glibc
import Interface

/// The built kvmscope on a pseudo-terminal of its own, as a user has it.
struct WholeProgram: ~Copyable {
    let pid: Int32
    private let terminal: Int32

    init(_ path: String, _ arguments: [String], columns: Int32, rows: Int32) throws {
        var end: Int32 = -1
        var strings = ([path] + arguments).map { strdup($0) } + [nil]
        defer { for string in strings { free(string) } }
        // SAFETY: the array ends with nil and outlives the call; the child gets copies by exec.
        pid = cbench_spawn(path, &strings, columns, rows, &end)
        terminal = end
        guard pid > 0 else { throw BenchFailure("\(path) could not be started (errno \(-pid))") }
    }

    deinit {
        kill(pid, SIGTERM)
        var status: Int32 = 0
        waitpid(pid, &status, 0)
        close(terminal)
    }

    /// Takes what the program draws until it has been silent for `milliseconds`, or has ended. When the last byte came,
    /// on the clock of `cbench_now`, and how many came.
    func drain(silence milliseconds: Int32, _ body: (ArraySlice<UInt8>) -> Void = { _ in }) -> (
        last: UInt64, bytes: Int
    ) {
        var last = cbench_now()
        var total = 0
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            var entry = pollfd(fd: terminal, events: Int16(POLLIN), revents: 0)
            guard poll(&entry, 1, total == 0 ? 10_000 : milliseconds) > 0 else { break }
            let count = read(terminal, &buffer, buffer.count)
            guard count > 0 else { break }
            answer(buffer.prefix(count))
            body(buffer.prefix(count))
            total += count
            last = cbench_now()
        }
        return (last, total)
    }

    /// What a terminal answers to a request for its device attributes, which the program waits for.
    private func answer(_ drawn: ArraySlice<UInt8>) {
        guard let end = drawn.last, end == UInt8(ascii: "c"),
            drawn.suffix(3).elementsEqual([0x1B, 0x5B, end])
        else {
            return
        }
        let reply = Array("\u{1B}[?6c".utf8)
        // SAFETY: the array lives through the call, which is told how many bytes it has.
        _ = write(terminal, reply, reply.count)
    }

    /// Nanoseconds of processor time that all its threads have used.
    func processorTime() -> UInt64 {
        threads.reduce(0) { sum, thread in
            let fields = fileText("/proc/\(pid)/task/\(thread)/schedstat").split(separator: " ")
            return sum + (fields.first.flatMap { UInt64($0) } ?? 0)
        }
    }

    private var threads: [String] {
        guard let folder = opendir("/proc/\(pid)/task") else { return [] }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            // SAFETY: d_name is a NUL-terminated array inside the entry, valid until the next readdir.
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if UInt32(name) != nil { names.append(name) }
        }
        return names
    }

    /// A line of /proc/PID/status in KiB: `RssAnon`, `RssFile`, `RssShmem`.
    func kibibytes(_ key: String) -> Double {
        for line in fileText("/proc/\(pid)/status").split(separator: "\n") where line.hasPrefix("\(key):") {
            return line.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap {
                Double($0)
            } ?? 0
        }
        return 0
    }
}

/// What a small file holds; empty if it cannot be read.
func fileText(_ path: String) -> String {
    let file = open(path, O_RDONLY)
    guard file >= 0 else { return "" }
    defer { close(file) }
    var buffer = [UInt8](repeating: 0, count: 16384)
    let count = read(file, &buffer, buffer.count)
    return String(decoding: buffer.prefix(max(count, 0)), as: UTF8.self)
}

/// What a user waits for and pays for: the first screen, an idle one, memory.
func wholeProgramFigures(_ path: String, rounds: Int) throws -> [Figure] {
    var firstScreens: [Double] = []
    for _ in 0..<rounds {
        let start = cbench_now()
        let program = try WholeProgram(path, [], columns: 120, rows: 40)
        let drawn = program.drain(silence: 300)
        guard drawn.bytes > 1000 else { throw BenchFailure("\(path) drew no screen (\(drawn.bytes) bytes)") }
        firstScreens.append(Double(drawn.last - start) / 1e6)
    }

    let program = try WholeProgram(path, ["-m", "64M"], columns: 200, rows: 60)
    _ = program.drain(silence: 500)
    let before = (time: program.processorTime(), at: cbench_now())
    usleep(5_000_000)
    let used = Double(program.processorTime() - before.time) / Double(cbench_now() - before.at) * 100
    // Guest RAM is shared memory; all else is the program's own or file-backed.
    let anonymous = program.kibibytes("RssAnon") / 1024
    let file = program.kibibytes("RssFile") / 1024

    return [
        Figure(
            name: "first screen after exec", value: median(firstScreens), unit: "ms", line: .under(150),
            parts: [
                ("fastest", firstScreens.min() ?? .nan, "ms"), ("slowest", firstScreens.max() ?? .nan, "ms"),
            ]),
        Figure(
            name: "idle screen", value: used, unit: "% of a core", line: .under(1),
            parts: [("over", 5, "s")]),
        Figure(
            name: "memory beyond guest RAM", value: anonymous + file, unit: "MiB", line: .under(40),
            parts: [("anonymous", anonymous, "MiB"), ("files", file, "MiB")]),
    ]
}
