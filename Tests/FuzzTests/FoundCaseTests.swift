import Foundation
import FuzzTargets
import Testing

/// What the fuzzer found, fed to the same code: a case that once crashed does not again.
///
/// The files stand in `Tests/Fuzz/Cases/<target>`; one that libFuzzer writes (`crash-…`, `timeout-…`) is put there
/// under a name that says what it is.
@Suite(.serialized) struct FoundCaseTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "Fuzz/Cases")

    @Test(arguments: FuzzTarget.allCases) func cases(_ target: FuzzTarget) throws {
        let folder = Self.folder.appending(path: target.rawValue)
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        #expect(!files.isEmpty)
        for file in files.sorted() { target.run([UInt8](try Data(contentsOf: folder.appending(path: file)))) }
    }

    /// Every case, and every part of it, to every target: what one reads is no news to another.
    @Test(arguments: FuzzTarget.allCases) func crossedAndCut(_ target: FuzzTarget) throws {
        for other in FuzzTarget.allCases {
            let folder = Self.folder.appending(path: other.rawValue)
            for file in try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() {
                let bytes = [UInt8](try Data(contentsOf: folder.appending(path: file)))
                target.run(bytes)
                for part in 1..<8 { target.run(Array(bytes.prefix(bytes.count * part / 8))) }
            }
        }
    }
}
