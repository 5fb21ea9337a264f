public import Commands
public import DebugTarget
public import GuestView

/// A key as the screen knows it, whatever the terminal sent for it.
public enum Key: Sendable, Hashable {
    case character(Unicode.Scalar)
    /// Ctrl with a letter, in lower case, or with one of `@[\]^_`.
    case control(Character)
    /// Alt with a character.
    case alt(Unicode.Scalar)
    case up, down, left, right, home, end, pageUp, pageDown, insert, delete, backspace, enter, tab, backTab
    case controlUp, controlDown, controlLeft, controlRight, altLeft, altRight
    case escape
    /// F1 to F12; 13 to 24 are the shifted ones.
    case function(Int)
}

/// What happened.
public enum Event: Sendable {
    case key(Key)
    /// Ctrl-C or SIGINT, with the time in milliseconds of any steady clock.
    case interrupt(at: UInt64)
    /// Ctrl-D on an empty line.
    case leave
    case resized(Size)
    case wheel(x: Int, y: Int, lines: Int)
    case pressed(x: Int, y: Int)
    /// What readline has now.
    case commandLine(CommandLine)
    /// A line was accepted: it is shown before what it brings forth.
    case entered(String)
    /// Text for the output pane.
    case output([OutputLine])
    case guest(GuestView)
    /// The panes are to stand so.
    case layout(ScreenLayout)
    /// An address that was asked for with ``Effect/resolve(_:for:)``: as it is to be shown, and where it is.
    case resolved(Purpose, MemoryPlace)
    /// It could not be understood.
    case unresolved(String)
    /// What an expression that is being typed is now, as asked for with ``Effect/evaluate(_:)``; or why it is nothing.
    case evaluated(String, Result<UInt64, Refusal>)

    /// Why something is not so, for people.
    public struct Refusal: Error, Sendable, Hashable {
        public var message: String
        public init(_ message: String) { self.message = message }
    }
}

/// What is to be done. The front end does it and sends events for what comes of it.
public enum Effect: Sendable, Hashable {
    /// Runs a command as though typed. Without `echo` the line is not shown.
    case execute(String, echo: Bool)
    /// A key for readline.
    case edit(Key)
    case clearLine
    /// Stops the guest.
    case interrupt
    /// A key for the guest's own keyboard.
    case typeToGuest(TypedKey)
    case resolve(String, for: Purpose)
    /// Asks for an expression's value, with nothing changed by it; see ``Event/evaluated(_:_:)``.
    case evaluate(String)
    /// Looks at the stop of this number.
    case revisit(Int)
    /// Looks for bytes or text from a place on; what comes of it is ``Event/resolved(_:_:)``.
    case findBytes(String, after: MemoryPlace)
    /// Looks for text in the disassembly from the instruction at a linear address on.
    case findCode(String, after: UInt64)
    /// The panes need data that they did not need before.
    case refresh
    case redraw
    case suspend
    case quit
}

/// What an address is for.
public enum Purpose: Sendable, Hashable {
    case memory
    case code
}

/// readline's line.
public struct CommandLine: Sendable, Hashable {
    public var prompt: String
    public var text: String
    /// In UTF-8 bytes of ``text``.
    public var cursor: Int
    /// Escape is a key of the line editor's own.
    public var isVi: Bool
    public init(prompt: String = "", text: String = "", cursor: Int = 0, isVi: Bool = false) {
        self.prompt = prompt
        self.text = text
        self.cursor = cursor
        self.isVi = isVi
    }
}

/// A line of the output pane.
public struct OutputLine: Sendable, Hashable {
    public struct Span: Sendable, Hashable {
        public let text: String
        public var look: Look
        /// What would drive a terminal is shown by number.
        public init(_ text: String, _ look: Look = Look()) {
            self.text = text.printable
            self.look = look
        }
    }
    public var spans: [Span]
    public init(_ spans: [Span]) { self.spans = spans }
    public init(_ text: String, _ look: Look = Look()) { spans = [Span(text, look)] }
    public var text: String { spans.map(\.text).joined() }
}

extension Event {
    /// What a search came to.
    public init(_ outcome: SearchOutcome, for purpose: Purpose) {
        self =
            switch outcome {
            case .found(let place): .resolved(purpose, place)
            case .notFound(let why): .unresolved(why)
            }
    }
}
