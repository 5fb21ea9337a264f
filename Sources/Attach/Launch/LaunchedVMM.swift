import Glibc
public import Host

/// A VMM that kvmscope starts: followed until its guest is about to run for the first time.
///
/// It ends with this value, or with the target made of it, or when kvmscope dies, unless it was detached. For one
/// thread at a time.
public final class LaunchedVMM {
    private let client: TracerClient
    /// The program and its arguments.
    public let arguments: [String]
    /// The file that its standard output and standard error go to.
    public let output: String

    /// Starts a program; it runs until its guest would.
    ///
    /// - Parameters:
    ///   - arguments: the first is looked for in PATH.
    ///   - input: the file that is its standard input.
    ///   - output: the file that its output is added to; made if there is none.
    ///   - tracer: the program that can be the tracer.
    /// - Throws: `HostGuestError` where it cannot be started or traced.
    public init(
        _ arguments: [String], input: String = "/dev/null", output: String, tracer: TracerProgram = .current
    ) throws(HostGuestError) {
        self.arguments = arguments
        self.output = output
        client = try TracerClient(tracer)
        _ = try client.ask(.launch(arguments: arguments, input: input, output: output))
    }

    /// Where it stands.
    public enum Progress: Sendable, Hashable {
        /// It has not asked for a VM yet.
        case starting
        /// It has a VM, and has not called KVM_RUN. A VMM that was told to wait (QEMU's `-S`) stays here.
        case hasMachine
        /// Its guest stands before its first instruction: ``target()``.
        case ready
    }

    /// - Throws: `HostGuestError` when it has ended, or can never be debugged.
    public func progress() throws(HostGuestError) -> Progress {
        switch try state() {
        case .starting: return .starting
        case .hasMachine: return .hasMachine
        case .ready: return .ready
        case .bits32:
            throw HostGuestError(
                .bits32, "`\(arguments[0])` is a 32-bit program", remedy: "only 64-bit VMMs can be debugged")
        case .ended(let status):
            throw HostGuestError(
                .ended, "`\(arguments[0])` has ended (\(Self.text(status))) before its guest ran",
                remedy: lastWords.map { "it said: \($0)" }
                    ?? "it said nothing; does it use KVM (`-accel kvm`)?")
        }
    }

    /// The guest, standing before its first instruction.
    ///
    /// - Parameter readsKernel: take the memory map from KVM's own structures (BPF) where this is permitted; otherwise
    ///   from the VMM's calls alone, which then have to be watched at each exit.
    /// - Throws: `HostGuestError` where it is not ``Progress/ready``, or cannot be debugged.
    public func target(readsKernel: Bool = true) throws -> AttachedTarget {
        guard case .ready(let machine) = try state() else {
            throw HostGuestError(.launch, "`\(arguments[0])` has not run a guest yet")
        }
        guard
            let guest = GuestFinder(readsKernel: readsKernel).guest(
                process: machine.process, vcpus: machine.hostVCPUs, tracer: client.tracerProcess)
        else {
            throw HostGuestError(.ended, "process \(machine.process) has ended")
        }
        if let obstacle = guest.obstacle { throw obstacle }
        return try AttachedTarget(
            guest, client,
            launched: AttachedTarget.Launch(machine: machine, output: output, readsKernel: readsKernel))
    }

    private func state() throws(HostGuestError) -> LaunchedMachine.Progress {
        guard case .progress(let progress) = try client.ask(.progress) else {
            throw HostGuestError(.tracer, "the tracer did not say how far the program has come")
        }
        return progress
    }

    /// The end of its output, on one line.
    private var lastWords: String? {
        guard let bytes = ProcessFiles.bytes(output) else { return nil }
        let lines = String(decoding: bytes.suffix(2048), as: UTF8.self).split(whereSeparator: \.isNewline)
        return lines.isEmpty ? nil : lines.suffix(3).joined(separator: " / ")
    }

    /// A status of waitpid in words.
    static func text(_ status: Int32) -> String {
        status & 0x7F == 0 ? "status \(status >> 8 & 0xFF)" : "signal \(status & 0x7F)"
    }
}
