import Attach
import Foundation
import Host
import TargetConformance
import Testing

/// A stock QEMU at work; ended with its last reference.
final class QEMU {
    let process: Process
    private let monitorPath: String?
    private var monitor: Int32 = -1

    /// - Parameter monitor: whether it gets one, for comparing.
    /// - Parameter waits: until all vCPUs have run.
    init(_ options: [String], monitor: Bool = true, waits: Bool = true) throws {
        guard let path = Host.qemu else { throw Failure("there is no qemu-system-x86_64") }
        let socket = NSTemporaryDirectory() + "qemu-\(UUID().uuidString.prefix(8))"
        monitorPath = monitor ? socket : nil
        process = Process(
            of: path,
            ["-accel", "kvm", "-display", "none", "-serial", "none", "-parallel", "none", "-m", "64"]
                + ["-monitor", monitor ? "unix:\(socket),server=on,wait=off" : "none"] + options)
        process.standardError = FileHandle.nullDevice
        try process.run()
        if monitor { try connect(socket) }
        let deadline = ContinuousClock.now + .paced(30)
        while true {
            let vcpu = GuestFinder().guest(process: pid)?.vcpus.last
            if let vcpu, !waits || vcpu.thread != nil { break }
            guard process.isRunning, ContinuousClock.now < deadline else {
                throw Failure("QEMU does not start")
            }
            usleep(10_000)
        }
    }

    deinit {
        if monitor >= 0 { close(monitor) }
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
        process.waitUntilExit()
        if let monitorPath { unlink(monitorPath) }
    }

    var pid: Int32 { process.processIdentifier }

    private func connect(_ path: String) throws {
        let deadline = ContinuousClock.now + .paced(30)
        while ContinuousClock.now < deadline {
            let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) {
                $0.copyBytes(from: Array(path.utf8.prefix(100)) + [0])
            }
            let result = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
            if result == 0 {
                monitor = descriptor
                _ = try answer()
                return
            }
            close(descriptor)
            usleep(10_000)
        }
        throw Failure("QEMU's monitor does not answer")
    }

    /// What the monitor prints up to its next prompt.
    private func answer() throws -> String {
        var text = [UInt8]()
        var buffer = [UInt8](repeating: 0, count: 65536)
        let prompt = Array("(qemu) ".utf8)
        while !text.suffix(prompt.count).elementsEqual(prompt) {
            var ready = pollfd(fd: monitor, events: Int16(POLLIN), revents: 0)
            guard poll(&ready, 1, 20_000) == 1 else { throw Failure("QEMU's monitor is silent") }
            let count = read(monitor, &buffer, buffer.count)
            guard count > 0 else { throw Failure("QEMU's monitor is gone") }
            text += buffer.prefix(count)
        }
        return String(decoding: text, as: UTF8.self)
    }

    @discardableResult
    func ask(_ command: String) throws -> String {
        let line = Array((command + "\n").utf8)
        guard write(monitor, line, line.count) == line.count else { throw Failure("QEMU's monitor is gone") }
        return try answer()
    }

    func attach() throws -> AttachedTarget {
        guard let guest = GuestFinder().guest(process: pid) else { throw Failure("the guest is not found") }
        return try AttachedTarget(guest, tracer: Built.tracer)
    }
}
