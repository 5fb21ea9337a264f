import CReadline
import Glibc
public import SystemPackage

/// The file that keeps the lines typed, between runs. Its failures never matter to the user: no history then.
public struct History: Sendable, Hashable {
    /// At most so many lines are kept.
    public static let limit = 1_000

    public var path: FilePath

    public init(path: FilePath) { self.path = path }

    /// `$XDG_STATE_HOME/kvmscope/history`, or `~/.local/state/kvmscope/history`; nil without a home.
    ///
    /// A relative XDG_STATE_HOME is ignored, as the XDG base directory specification has it.
    public static func standard(
        environment: (String) -> String? = Self.variable
    ) -> History? {
        if let state = environment("XDG_STATE_HOME"), state.hasPrefix("/") {
            return History(path: FilePath(state).appending("kvmscope").appending("history"))
        }
        guard let home = environment("HOME"), home.hasPrefix("/") else { return nil }
        return History(
            path: FilePath(home).appending(".local").appending("state").appending("kvmscope")
                .appending("history"))
    }

    /// A variable of the process's environment.
    public static func variable(_ name: String) -> String? {
        // SAFETY: nothing in this program changes the environment, so the string stays; it is copied at once.
        guard let value = unsafe getenv(name) else { return nil }
        // SAFETY: getenv gives a NUL-terminated string.
        return unsafe String(cString: value)
    }

    /// Reads the file into readline's list.
    func load() {
        guard isFile else { return }
        _ = creadline_history_read(path.string)
    }

    /// Adds the last line of readline's list to the file, which is made with mode 0600 (and its folders with
    /// 0700) if it is not there.
    func append(_ count: Int) {
        let folder = path.removingLastComponent()
        Self.makeFolders(folder)
        guard
            let file = try? FileDescriptor.open(
                path, .writeOnly, options: [.create, .append, .closeOnExec, .nonBlocking],
                permissions: .ownerReadWrite)
        else { return }
        try? file.close()
        guard isFile else { return }
        _ = creadline_history_append(path.string, Int32(clamping: count), Int32(Self.limit))
    }

    /// Far more than its lines take.
    private static let largest: Int64 = 1 << 24

    /// A pipe or a device in its place would be waited for.
    private var isFile: Bool {
        var status = stat()
        // SAFETY: stat() fills the structure it is given, or says that it has not.
        return unsafe stat(path.string, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
            && status.st_size <= Self.largest
    }

    private static func makeFolders(_ folder: FilePath) {
        guard !folder.isEmpty, mkdir(folder.string, 0o700) != 0, errno == ENOENT else { return }
        let parent = folder.removingLastComponent()
        guard parent != folder else { return }
        makeFolders(parent)
        mkdir(folder.string, 0o700)
    }
}
