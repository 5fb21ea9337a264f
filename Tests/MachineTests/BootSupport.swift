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

/// A CD of so many sectors of 2048 bytes: a primary descriptor, a boot record, its catalog at 20, and there a boot entry for
/// `count` sectors of 512 bytes at `sector`, where `code` is.
///
/// - Parameter medium: what it stands for, as El Torito has it; 0 for none.
func bootableDisc(sectors: Int, medium: UInt8, count: UInt8, at sector: UInt8, _ code: [UInt8]) -> Data {
    var bytes = Data(count: sectors * 2048)
    func put(_ place: Int, _ data: [UInt8]) {
        bytes.replaceSubrange(place..<place + data.count, with: data)
    }
    put(16 * 2048, [1] + Array("CD001".utf8) + [1])
    put(17 * 2048, [0] + Array("CD001".utf8) + [1] + Array("EL TORITO SPECIFICATION".utf8))
    put(17 * 2048 + 0x47, [20, 0, 0, 0])
    put(20 * 2048, [1, 0, 0, 0])
    // The words add up to 0: 0001 + 55AA + AA55 = 10000.
    put(20 * 2048 + 28, [0xAA, 0x55, 0x55, 0xAA])
    put(20 * 2048 + 32, [0x88, medium, 0, 0, 0, 0, count, 0, sector, 0, 0, 0])
    put(Int(sector) * 2048, code)
    return bytes
}
