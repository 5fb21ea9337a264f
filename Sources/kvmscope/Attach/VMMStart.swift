import ArgumentParser
import Attach
import Commands
import Glibc
import SystemPackage
import Terminal

/// Starts a VMM, and waits until its guest is about to run.
struct VMMStart {
    /// The program and its arguments.
    var command: [String]
    /// A file.
    var input = "/dev/null"
    /// A file that is added to; nil for a new one in $TMPDIR.
    var output: String?
    /// How long to wait, in seconds; nil for as long as it runs.
    var limit: Int?

    /// - Throws: ``ExitCode`` where a signal ended the wait; what is thrown otherwise says what the program did.
    func run(_ signals: SignalPipe) throws -> (vmm: LaunchedVMM, target: AttachedTarget) {
        let vmm = try LaunchedVMM(command, input: input, output: try outputPath())
        try wait(for: vmm, signals)
        return (vmm, try vmm.target())
    }

    private func outputPath() throws -> String {
        if let output { return output }
        let folder = environmentValue("TMPDIR").flatMap { $0.isEmpty ? nil : $0 } ?? "/tmp"
        var template = Array("\(folder)/kvmscope-XXXXXX.log".utf8CString)
        let descriptor = mkstemps(&template, 4)
        guard descriptor >= 0 else {
            throw StartError(
                description: "no file for the VMM's output can be made in \(folder) "
                    + "(\(String(cString: strerror(errno)))); name one with --output")
        }
        close(descriptor)
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Until the guest is about to run; what takes longer is told.
    private func wait(for vmm: LaunchedVMM, _ signals: SignalPipe) throws {
        let start = ContinuousClock.now
        var isTold = false
        while true {
            let progress = try vmm.progress()
            if progress == .ready { return }
            let waited = ContinuousClock.now - start
            let what =
                progress == .hasMachine
                ? "has a VM and does not run it yet (was it told to wait, as QEMU by -S?)"
                : "has not asked for a VM yet (does it use KVM, as QEMU by -accel kvm?)"
            if let limit, waited > .seconds(limit) {
                throw StartError(
                    description:
                        "`\(command[0])` \(what); it was ended after \(limit) s; its output is in \(vmm.output)"
                )
            }
            if !isTold, waited > .seconds(5) {
                isTold = true
                tell(
                    "`\(command[0])` \(what); waiting, Ctrl-C ends it; its output goes to \(vmm.output)")
            }
            var ready = pollfd(fd: signals.descriptor, events: Int16(POLLIN), revents: 0)
            _ = poll(&ready, 1, 20)
            if let signal = signals.next() { throw ExitCode(status(ofSignal: signal)) }
        }
    }
}
