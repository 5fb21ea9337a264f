import Foundation
import Testing

/// The tests' own VMM at work, which counts every return of KVM_RUN itself; ended with its last reference.
final class TinyVMM {
    static let isThere = access("/dev/kvm", R_OK | W_OK) == 0 && geteuid() == 0
    private let process = Process()
    private let log: URL
    private let vcpus: Int

    init(vcpus: Int = 1) throws {
        self.vcpus = vcpus
        log = URL(filePath: NSTemporaryDirectory()).appending(path: "watched-\(UUID().uuidString)")
        process.executableURL = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
            .deletingLastPathComponent().appending(path: "TinyVMM")
        process.arguments = [log.path, "\(vcpus)"]
        try process.run()
        let deadline = ContinuousClock.now + .seconds(20)
        while (try? words())?.first != UInt64(vcpus) || (try? self.returns()) ?? [] == []
            || (try? self.returns().contains(0)) != false
        {
            try #require(process.isRunning && ContinuousClock.now < deadline, "TinyVMM does not start")
            usleep(1000)
        }
    }

    deinit { end() }

    func end() {
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
        process.waitUntilExit()
        try? FileManager.default.removeItem(at: log)
    }

    var pid: Int32 { process.processIdentifier }

    private func words() throws -> [UInt64] {
        let bytes = [UInt8](try Data(contentsOf: log))
        return bytes.withUnsafeBytes { raw in
            (0..<raw.count / 8).map { raw.loadUnaligned(fromByteOffset: $0 * 8, as: UInt64.self) }
        }
    }

    /// The layout of `struct log`: a word, three slots of four words, then 14 words a vCPU.
    private func field(_ field: Int) throws -> [UInt64] {
        let words = try words()
        return try (0..<vcpus).map { try #require(words.element(1 + 12 + $0 * 14 + field)) }
    }

    func threads() throws -> [Int32] { try field(0).map { Int32($0) } }
    /// Returns of KVM_RUN for I/O, so far, of each vCPU.
    func returns() throws -> [UInt64] { try field(2) }
}

extension [UInt64] {
    fileprivate func element(_ index: Int) -> UInt64? { indices.contains(index) ? self[index] : nil }
}
