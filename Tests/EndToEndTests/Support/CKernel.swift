import Foundation
import Testing

/// The kernel in C of `RemoteScripts/kernel.c`, built with its types and lines by the compiler that came with Swift.
enum CKernel {
    static let source = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "RemoteScripts/kernel.c")

    /// The number of the line that holds `text`.
    static func line(_ text: String) throws -> Int {
        let lines = try String(contentsOf: source, encoding: .utf8).split(
            separator: "\n", omittingEmptySubsequences: false)
        return try #require(lines.firstIndex { $0.contains(text) }) + 1
    }

    /// - Returns: the ELF file's path.
    static func build(in folder: TemporaryFolder) throws -> String {
        let path = folder.url.appending(path: "kernel.elf").path
        let built = try run(
            "clang",
            [
                "-g", "-O0", "-ffreestanding", "-fno-pic", "-fno-pie", "-fno-stack-protector",
                "-fno-omit-frame-pointer", "-mno-red-zone", "-mno-sse", "-mno-mmx", "-nostdlib", "-static",
                "-fuse-ld=lld", "-Wl,--image-base=0x100000,-e,start,--build-id=none", "-o", path, source.path,
            ])
        try #require(built.status == 0, "\(built.errors)")
        return path
    }
}
