import CNcurses

/// What the process does when it crashes.
public enum CrashReport {
    /// The terminal is put back first; then the backtrace goes to a file in $TMPDIR (or /tmp), and one line on standard
    /// error says what happened and where it is. Nobody is asked anything.
    public static func install() {
        let folder = History.variable("TMPDIR").flatMap { $0.hasPrefix("/") ? $0 : nil } ?? "/tmp"
        cncurses_catch_crashes(folder)
    }

    /// It ends, as any program does: for one whose end another process tells.
    public static func disable() { cncurses_leave_crashes() }
}
