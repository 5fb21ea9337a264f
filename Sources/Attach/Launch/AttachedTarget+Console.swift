public import DebugTarget
import Glibc
import SystemPackage

/// What a launched VMM prints: its messages, and the guest's serial port where that goes to standard output.
extension AttachedTarget: ConsoleProviding {
    private static let console = ConsoleName(rawValue: "vmm")
    /// As much of the output as is kept in sight.
    private static let kept = 64 << 10

    /// None for a guest that was attached to: what its VMM prints goes elsewhere.
    public var consoles: [ConsoleName] { launched == nil ? [] : [Self.console] }

    private var outputSize: UInt64 {
        var facts = stat()
        guard let launched, stat(launched.output, &facts) == 0 else { return 0 }
        return UInt64(clamping: facts.st_size)
    }

    public func consoleOutput(_ console: ConsoleName) -> ConsoleOutput? {
        guard let launched, console == Self.console else { return nil }
        let size = outputSize
        let start = size > UInt64(Self.kept) ? size - UInt64(Self.kept) : 0
        guard let file = try? FileDescriptor.open(FilePath(launched.output), .readOnly, options: .closeOnExec)
        else { return ConsoleOutput(total: size, bytes: []) }
        defer { try? file.close() }
        let bytes = try? [UInt8](unsafeUninitializedCapacity: Self.kept) { buffer, count in
            // SAFETY: the buffer has room for `kept` bytes, and read() reports how many it has filled.
            count = try file.read(
                fromAbsoluteOffset: Int64(clamping: start), into: UnsafeMutableRawBufferPointer(buffer))
        }
        return ConsoleOutput(total: size, bytes: bytes ?? [])
    }

    /// Its standard input is a file that was given when it was started.
    public func consoleInput(_ console: ConsoleName, _ bytes: [UInt8]) -> Bool { false }
}
