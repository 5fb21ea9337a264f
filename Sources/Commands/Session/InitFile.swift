import Glibc

/// The user's own commands, done at the start of each session: `$XDG_CONFIG_HOME/kvmscope/init`, or
/// `~/.config/kvmscope/init`. No file of the current folder is looked for.
public enum InitFile {
    /// Nil where there is none.
    public static func path() -> String? {
        guard let folder = personalFolder("XDG_CONFIG_HOME", ".config") else { return nil }
        let path = folder + "/init"
        return access(path, F_OK) == 0 ? path : nil
    }

    /// Why its commands are not to be trusted; nil where they are.
    public static func objection(to path: String) -> String? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        if status.st_uid != getuid(), status.st_uid != 0 { return "\(path) belongs to another user" }
        if status.st_mode & (S_IWOTH | S_IWGRP) != 0 {
            return "\(path) can be written by others; `chmod go-w` takes that back"
        }
        return nil
    }
}

extension Session {
    /// Does a file's commands without showing what they yield, but for text that they print.
    /// - Returns: that text, and the failure that ended them.
    public func runInit(_ path: String) -> (text: String, failure: CommandError?) {
        do throws(CommandError) {
            let call = try Invocation("source init", table: table)
            let lines = try Files.lines(Argument(text: path, column: 0), self, call)
            let text = try captured(
                call,
                { () throws(CommandError) in
                    _ = try self.enqueue(lines, file: path, call)
                    return .done(Queued())
                }, keeping: \.isPrinted)
            return (text, nil)
        } catch {
            script.clear()
            return ("", error)
        }
    }
}

extension CommandOutput {
    /// Text that a script prints, or a program that it has run.
    fileprivate var isPrinted: Bool { self is PrintedText || self is ShellOutput }
}
