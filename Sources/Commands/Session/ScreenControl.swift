/// How the panes of the screen stand.
public enum ScreenLayout: String, Sendable, Hashable, CaseIterable {
    /// Registers, code, stack, memory and exits; output below.
    case boot
    /// Code and stack have the room, and the system's registers are in sight where there is any for them.
    case kernel
    /// The exits have the room.
    case exits
    /// Output has the room: two panes above it.
    case wide

    /// What `layout` says of it.
    public var summary: String {
        switch self {
        case .boot: "registers, code, stack, memory and exits"
        case .kernel: "code and stack have the room"
        case .exits: "the exits have the room"
        case .wide: "output has the room"
        }
    }
}

/// Which colours the screen has.
public enum ScreenTheme: String, Sendable, Hashable, CaseIterable {
    /// As the terminal's background is, where it says.
    case auto
    case dark
    case light
    case none
}

/// What commands change of a screen. Belongs to the session's thread.
public protocol ScreenControl: AnyObject {
    var screenLayout: ScreenLayout { get set }
    var theme: ScreenTheme { get set }
    /// The colours that are used: as ``theme`` says, or as the terminal does.
    var usedTheme: ScreenTheme { get }
    /// The terminal gives the mouse's wheel and buttons to the screen.
    var usesMouse: Bool { get set }
    /// The characters of the screen, a line a row.
    func screenText() -> String
}
