import Foundation

@testable import Symbols

/// What the package builds of `Tests/SymbolFixture`, and the program that reads symbols.
enum Fixture {
    private static let directory = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
        .deletingLastPathComponent()
    /// A relocatable object: `code.S`, its code from address 0 on.
    static let object = directory.appending(path: "SymbolFixture.build/code.S.o").path
    /// A program that is loaded anywhere: `main.c` and `code.S`.
    static let program = directory.appending(path: "SymbolFixture").path
    static let kvmscope = directory.appending(path: "kvmscope").path

    static func bytes(_ path: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(filePath: path))) }

    /// A file of symbols that is gone after `body`.
    static func withFile<R>(_ bytes: [UInt8], _ body: (String) throws -> R) throws -> R {
        let path = FileManager.default.temporaryDirectory
            .appending(path: "kvmscope-symbols-\(UUID().uuidString)").path
        try Data(bytes).write(to: URL(filePath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        return try body(path)
    }
}

/// The error that `body` throws, if it is about a file of symbols.
func symbolError(_ body: () throws -> Void) -> SymbolFileError? {
    do {
        try body()
        return nil
    } catch {
        return error as? SymbolFileError
    }
}
