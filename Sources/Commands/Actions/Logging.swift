import SystemPackage

enum LoggingActions {
    static func set(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let words = call.arguments
        let log = session.log
        switch words.first?.text {
        case "on", "off", nil:
            try call.checkCount(1)
            try setOn(words.first?.text ?? "on", words.first, session, call)
        case "enabled":
            try call.checkCount(2)
            guard words.count == 2 else { throw call.usageError("`enabled` takes on or off") }
            try setOn(words[1].text, words[1], session, call)
        case "file":
            guard words.count == 2 else { throw call.usageError("`file` takes one file") }
            guard session.hostAccess.contains(.files) else {
                throw call.error("this session may name no files")
            }
            let before = log.path
            log.path = words[1].text
            guard log.isOn else { break }
            // What was begun goes on there, or where it was.
            do throws(CommandError) {
                try start(session, call)
            } catch {
                log.path = before
                throw error
            }
        case "overwrite": log.overwrites = try state(words, call)
        case "redirect": log.isRedirected = try state(words, call)
        case .some(let word):
            throw call.error(
                "there is no `set logging \(word)`", at: words.first,
                remedy: "one of: on, off, file FILE, overwrite on|off, redirect on|off")
        }
        return try show(session, call)
    }

    private static func state(_ words: [Argument], _ call: Invocation) throws(CommandError) -> Bool {
        guard words.count == 2, ["on", "off"].contains(words[1].text) else {
            throw call.usageError("`\(words[0].text)` takes on or off", at: words.dropFirst().first)
        }
        return words[1].text == "on"
    }

    private static func setOn(
        _ word: String, _ argument: Argument?, _ session: Session, _ call: Invocation
    ) throws(CommandError) {
        switch word {
        case "on": try start(session, call)
        case "off": session.log.stop()
        default: throw call.usageError("logging is on or off", at: argument)
        }
    }

    private static func start(_ session: Session, _ call: Invocation) throws(CommandError) {
        guard session.hostAccess.contains(.files) else { throw call.error("this session may name no files") }
        do throws(Errno) {
            try session.log.start()
        } catch {
            throw call.error("cannot write \(session.log.path): \(error)", remedy: "`set logging file FILE`")
        }
    }

    static func show(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let log = session.log
        let way = log.overwrites ? "overwritten" : "appended to"
        let place = log.isRedirected ? "there alone" : "there and here"
        return .done(
            Message(
                log.isOn
                    ? "Output goes to \(log.path), \(place)."
                    : "Output is not logged; it would go to \(log.path), \(place), and the file be \(way)."))
    }
}
