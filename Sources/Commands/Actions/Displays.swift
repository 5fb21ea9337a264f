import Debugger
import Expressions

extension CommandTable {
    static let displayCommands: [Command] = [
        Command(
            "display", [], "[EXPR]", .memory, "show a value or memory after every stop",
            details: """
                FMT as for `x` and `print`: with `i`, `s`, a count or a unit, memory at EXPR as `x` shows it; otherwise \
                the value of EXPR. Without EXPR, all are shown now.
                """,
            examples: [
                .init("display/x $rax", "a register"), .init("display/3i $cs:$ip", "the next instructions"),
                .init("display/8xh $ss:$sp", "the stack"),
            ],
            completion: [.expression], format: true, whileRunning: true, action: DisplayActions.display),
        Command(
            "undisplay", ["delete display"], "[N...]", .memory, "end displays, or all of them",
            whileRunning: true, action: DisplayActions.undisplay),
        Command(
            "info display", [], "", .memory, "list the displays", whileRunning: true,
            action: DisplayActions.list),
    ]
}

/// A line that is shown after every stop.
struct Display: Sendable {
    var number: Int
    /// `x/3i $rip` or `output/x $rax`, which keeps no `$N`.
    var call: Invocation
    /// As it was given.
    var format: String
    var expression: String
}

enum DisplayActions {
    /// Displays that a session has at most: more are a script that went wrong.
    private static let most = 1 << 20

    static func display(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        guard !call.rest.text.isEmpty else {
            return .done(DisplaysShown(displays: session.displayRows()))
        }
        guard session.displays.count < most else {
            throw call.error("there are \(most) displays already", remedy: "end some with `undisplay`")
        }
        let format = try DisplayFormat(call.format, in: call)
        let isMemory =
            format.count != nil || format.unit != nil || format.letter == .string
            || format.letter == .instruction
        let suffix = call.format.map { "/\($0.text)" } ?? ""
        let inner = try Invocation(
            "\(isMemory ? "x" : "output")\(suffix) \(call.rest.text)", table: session.table)
        let display = Display(
            number: session.nextDisplay, call: inner, format: suffix, expression: call.rest.text)
        let row = session.row(display)
        // An expression that cannot be read now may be later; one that is none never will.
        if let error = row.failure, error.isSyntax {
            throw call.error(error.message, at: call.rest, offset: error.offset ?? 0)
        }
        session.nextDisplay += 1
        session.displays[display.number] = display
        return .done(DisplaysShown(displays: [row]))
    }

    static func undisplay(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        var ended: Set<Int> = []
        for argument in call.arguments {
            let value = try session.number(argument, call)
            guard let number = Int(exactly: value), session.displays[number] != nil else {
                throw call.error(
                    "there is no display \(session.signed(value))", at: argument,
                    remedy: "`info display` lists them")
            }
            ended.insert(number)
        }
        let before = session.displays.count
        if call.arguments.isEmpty { session.displays.removeAll() }
        for number in ended { session.displays[number] = nil }
        return .done(Message("Ended \(counted(before - session.displays.count, "display"))."))
    }

    static func list(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        return .done(
            DisplayList(
                displays: session.shownDisplays.map {
                    .init(number: $0.number, format: $0.format, expression: $0.expression)
                }))
    }
}

extension Session {
    /// All displays with what they show now.
    func displayRows() -> [DisplayRow] { shownDisplays.map(row) }

    /// By number.
    var shownDisplays: [Display] {
        displays.isEmpty ? [] : displays.sorted { $0.key < $1.key }.map(\.value)
    }

    func row(_ display: Display) -> DisplayRow {
        // What a display shows is not where `x` goes on.
        let kept = examine
        defer { examine = kept }
        var row = DisplayRow(
            number: display.number, format: display.format, expression: display.expression)
        do {
            guard case .done(let output) = try display.call.command.action(self, display.call) else {
                return row
            }
            row.value = DisplayRow.Value(output)
        } catch {
            row.error = error.message
            row.failure = DisplayRow.Failure(
                message: error.message,
                offset: error.column.map { $0 - display.call.rest.column })
        }
        return row
    }
}
