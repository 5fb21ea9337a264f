import Foundation
import Testing

/// The programs that this package builds, found beside the running test bundle.
enum Built {
    static let directory: URL = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
        .deletingLastPathComponent()
    static let kvmscope = directory.appending(path: "kvmscope").path
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
func run(_ program: String, _ arguments: [String], environment: [String: String] = [:], seconds: Double = 120)
    throws -> Finished
{
    let process = Process()
    process.executableURL = URL(filePath: program)
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    // Files, not pipes: a full pipe would stop the program, and reading two pipes in turn can too.
    let folder = try TemporaryFolder()
    let files = ["out", "err"].map { folder.url.appending(path: $0) }
    for file in files { try Data().write(to: file) }
    let handles = try files.map { try FileHandle(forWritingTo: $0) }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = handles[0]
    process.standardError = handles[1]
    try process.run()
    process.wait(seconds: seconds)
    return Finished(
        status: process.terminationStatus,
        output: String(decoding: try Data(contentsOf: files[0]), as: UTF8.self),
        errors: String(decoding: try Data(contentsOf: files[1]), as: UTF8.self))
}

extension Process {
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
