import Foundation
import Testing

/// The programs that this package builds, found beside the running test bundle.
enum Built {
    static let directory: URL = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
        .deletingLastPathComponent()
    static let kvmscope = directory.appending(path: "kvmscope").path
    /// The tests' own VMM, which also runs other programs that are to end with this process.
    static let tinyVMM = directory.appending(path: "TinyVMM").path
    static let packageRoot = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()
}

/// What a test needs of the host. With CI=true nothing is skipped: what is missing fails.
enum Host {
    static let isCI = ProcessInfo.processInfo.environment["CI"] == "true"
    static let runsKVM = isCI || access("/dev/kvm", R_OK | W_OK) == 0

    static func has(_ tools: String...) -> Bool { isCI || tools.allSatisfy { path(of: $0) != nil } }

    static func path(of tool: String) -> String? {
        let directories = (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin").split(
            separator: ":")
        return directories.map { "\($0)/\(tool)" }.first { access($0, X_OK) == 0 }
    }
}

/// A finished program.
struct Finished {
    var status: Int32
    var output: String
    var errors: String
}

/// Runs a program to its end, with nothing on standard input and no terminal anywhere.
///
/// By hand: Foundation's `Process` takes a program for running as long as a descendant, as tmux's server, has its
/// descriptors.
func run(
    _ program: String, _ arguments: [String], environment: [String: String] = [:], seconds: Double = 120
) throws -> Finished {
    let path =
        program.contains("/") ? program : try #require(Host.path(of: program), "\(program) is not there")
    // Files, not pipes: a full pipe would stop the program, and reading two pipes in turn can too.
    let folder = try TemporaryFolder()
    let files = ["out", "err"].map { folder.url.appending(path: $0) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    for (number, file) in files.enumerated() {
        posix_spawn_file_actions_addopen(
            &actions, Int32(number + 1), file.path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    }
    // No signal is blocked, whatever this thread has.
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))

    // It ends with this process, whatever ends that.
    let all = [Built.tinyVMM, "run-with", "\(getpid())", path] + arguments
    var words = all.map { strdup($0) } + [nil]
    let variables = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    var settings = variables.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { for word in words + settings { free(word) } }
    var pid: pid_t = 0
    let result = posix_spawn(&pid, Built.tinyVMM, &actions, &attributes, &words, &settings)
    try #require(result == 0, "\(path): \(String(cString: strerror(result)))")

    var status: Int32 = 0
    let end = Date(timeIntervalSinceNow: seconds)
    while waitpid(pid, &status, WNOHANG) == 0 {
        if Date() > end {
            kill(pid, SIGKILL)
            waitpid(pid, &status, 0)
            Issue.record("\(path) \(arguments) still ran after \(seconds) s")
            break
        }
        usleep(3_000)
    }
    return Finished(
        status: status & 0x7F == 0 ? status >> 8 & 0xFF : 128 + status & 0x7F,
        output: String(decoding: try Data(contentsOf: files[0]), as: UTF8.self),
        errors: String(decoding: try Data(contentsOf: files[1]), as: UTF8.self))
}

extension Process {
    /// A program that ends with this process, by whatever that ends; nothing is on its standard input.
    convenience init(of program: String, _ arguments: [String]) {
        self.init()
        executableURL = URL(filePath: Built.tinyVMM)
        self.arguments = ["run-with", "\(getpid())", program] + arguments
        standardInput = FileHandle.nullDevice
    }

    /// Waits for the end; a program that is still there after `seconds` is killed, and the test has failed.
    func wait(seconds: Double) {
        let end = Date(timeIntervalSinceNow: seconds)
        while isRunning, Date() < end { usleep(5_000) }
        if isRunning {
            Issue.record("\(executableURL?.path ?? "a program") still ran after \(seconds) s")
            kill(processIdentifier, SIGKILL)
        }
        waitUntilExit()
    }
}

/// kvmscope in batch mode, a `-ex` for each command.
func batch(_ options: [String] = [], _ commands: [String]) throws -> Finished {
    try run(Built.kvmscope, options + ["--batch"] + commands.flatMap { ["-ex", $0] })
}

/// A folder that goes away with its last reference.
final class TemporaryFolder {
    let url: URL
    init() throws {
        url = URL(filePath: NSTemporaryDirectory()).appending(path: "kvmscope-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    }
    deinit { try? FileManager.default.removeItem(at: url) }
}

/// Who runs on this host.
enum Processes {
    /// The command lines of QEMUs, their words separated by spaces.
    static func arguments() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { name in
            guard name.allSatisfy(\.isNumber),
                let words = FileManager.default.contents(atPath: "/proc/\(name)/cmdline"),
                let first = words.split(separator: 0).first,
                String(decoding: first, as: UTF8.self).hasSuffix("qemu-system-x86_64")
            else { return nil }
            return String(decoding: words.map { $0 == 0 ? 0x20 : $0 }, as: UTF8.self)
        }
    }
}
