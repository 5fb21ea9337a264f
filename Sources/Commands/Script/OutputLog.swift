import Glibc
import SystemPackage

/// A file that a session's output is written to, beside the terminal or in its place.
///
/// Belongs to the session's thread. Front ends give it what they show.
public final class OutputLog {
    /// As it was given.
    var path = "kvmscope.txt"
    /// The file is begun anew when logging begins, and not appended to.
    var overwrites = false
    /// Output goes to the file alone.
    public internal(set) var isRedirected = false
    private var file: FileDescriptor?

    init() {}

    deinit { try? file?.close() }

    public var isOn: Bool { file != nil }

    /// Begins with the file; the one before is left once that has worked.
    func start() throws(Errno) {
        do {
            let begun = try FileDescriptor.open(
                FilePath(expandingHome(path)), .writeOnly,
                options: [.create, .closeOnExec, overwrites ? .truncate : .append],
                permissions: .ownerReadWrite)
            stop()
            file = begun
        } catch {
            throw error as? Errno ?? .ioError
        }
    }

    /// False where nothing was logged.
    @discardableResult
    func stop() -> Bool {
        guard let file else { return false }
        self.file = nil
        try? file.close()
        return true
    }

    /// Writes what a command shows.
    /// - Returns: what to tell the user, once, where it cannot be written; logging has ended then.
    public func record(_ output: any CommandOutput, width: Int) -> String? {
        guard isOn else { return nil }
        return write(output.plainText(width: width))
    }

    public func record(_ error: CommandError, width: Int) -> String? {
        guard isOn else { return nil }
        return write(error.lines(width: width).map { $0.text + "\n" }.joined())
    }

    private func write(_ text: String) -> String? {
        guard let file, !text.isEmpty else { return nil }
        do {
            try file.writeAll(text.utf8)
            return nil
        } catch {
            stop()
            return "logging to \(path) has ended: \(error)"
        }
    }
}
