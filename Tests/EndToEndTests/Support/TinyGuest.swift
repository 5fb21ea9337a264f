import Foundation
import Testing

/// The small VMM of the tests, which checks its guest's sums; ended with its last reference.
final class TinyGuest {
    let process = Process()
    let folder: TemporaryFolder
    private var log: URL { folder.url.appending(path: "log") }

    var pid: Int32 { process.processIdentifier }

    /// - Parameter options: what its guest has and does beside the rest.
    init(_ options: [String] = ["filter", "kick"]) throws {
        folder = try TemporaryFolder()
        process.executableURL = Built.directory.appending(path: "TinyVMM")
        process.arguments = [log.path, "2"] + options
        try process.run()
        let end = Date(timeIntervalSinceNow: 20)
        while (try? words())?.first != 2 {
            try #require(process.isRunning && Date() < end, "TinyVMM does not start")
            usleep(1000)
        }
    }

    deinit {
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
        process.waitUntilExit()
    }

    private func words() throws -> [UInt64] {
        let bytes = [UInt8](try Data(contentsOf: log))
        return bytes.withUnsafeBytes { raw in
            (0..<raw.count / 8).map { raw.loadUnaligned(fromByteOffset: $0 * 8, as: UInt64.self) }
        }
    }

    /// The guest's code, as it is in the VMM.
    func code() throws -> Data {
        let memory = try FileHandle(
            forReadingFrom: URL(filePath: "/proc/\(process.processIdentifier)/mem"))
        try memory.seek(toOffset: try words()[3] + 0x1000)
        return try #require(try memory.read(upToCount: 0x36))
    }

    /// Three more rounds of right sums on each vCPU, no exit that is not the guest's own, and no tracer.
    func expectGoesOn() throws {
        let task = "/proc/\(process.processIdentifier)/task"
        let end = Date(timeIntervalSinceNow: 20)
        for vcpu in 0..<2 {
            func word(_ place: Int) throws -> UInt64 { try words()[13 + vcpu * 14 + place] }
            let status = "\(task)/\(try word(0))/status"
            while try !String(contentsOfFile: status, encoding: .utf8).contains("TracerPid:\t0\n") {
                try #require(Date() < end, "vCPU \(vcpu) is still traced")
                usleep(1000)
            }
            let rounds = try word(7)
            while try word(7) < rounds + 3 {
                try #require(process.isRunning && Date() < end, "vCPU \(vcpu) does not go on")
                usleep(1000)
            }
            #expect(try word(4) == 0 && word(5) == 0 && word(8) == 0)
            #expect(try word(13) == 0)
        }
    }
}
