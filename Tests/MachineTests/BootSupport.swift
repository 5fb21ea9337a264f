import DebugTarget
import Foundation
import Glibc
import Machine
import Testing

extension OwnedMachine {
    /// The screen's text, once it has `text`; what it has after some time if it never does.
    func screen(with text: String, seconds: Int = 60) -> String {
        let end = ContinuousClock.now + .seconds(seconds)
        while true {
            let cells = textScreen.map { screen in
                (0..<screen.rows).map { row in
                    String(screen.row(row).map { CodePage437.character($0.character) })
                }.joined(separator: "\n")
            }
            let shown = cells ?? ""
            if shown.contains(text) || ContinuousClock.now > end { return shown }
            usleep(20_000)
        }
    }

    /// Types a line, and Enter.
    func type(line: String) {
        let rest = type(Array(line.utf8).map { TypedKey.byte($0) } + [.named("enter")])
        #expect(rest == nil)
    }
}

/// A tool of Debian's packages.
func tool(_ name: String) -> String? {
    ["/usr/bin/", "/usr/sbin/", "/sbin/", "/bin/"].map { $0 + name }.first { access($0, X_OK) == 0 }
}

extension Process {
    /// A program that ends with this process, by whatever that ends; nothing is on its standard input.
    convenience init(of program: String, _ arguments: [String]) {
        self.init()
        executableURL = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
            .appending(path: "TinyVMM")
        self.arguments = ["run-with", "\(getpid())", program] + arguments
        standardInput = FileHandle.nullDevice
    }
}

/// Runs a tool to its end, which has to be a success.
func use(_ name: String, _ arguments: [String]) throws {
    let process = Process(of: try #require(tool(name), "\(name) is not there"), arguments)
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    try #require(
        process.terminationStatus == 0, "\(name) \(arguments) ended with \(process.terminationStatus)")
}
