import Foundation

/// A folder that goes with its last reference.
final class TestFolder {
    private let url: URL

    init() throws {
        url = URL(filePath: NSTemporaryDirectory()).appending(path: "kvmscope-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: url) }

    func path(_ name: String) -> URL { url.appending(path: name) }

    /// The names in it.
    func names() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: url.path).sorted() }
}
