import Debugger
import X86

/// Scripts: lines that wait, blocks, and commands of the user's.
extension Session {
    /// A queued line and what came of it.
    public struct Executed: Sendable {
        public var line: String
        public var result: Result<Outcome, CommandError>
        /// The first line of the `if`, the `while` or the command of the user's that the line belongs to. Front ends show
        /// what it yields, and not the line.
        public var compound: String?
        /// Nothing of that command is left.
        public var endsCompound = false
    }

    /// Does the next line that `source` queued; nil when there is none, or while the guest runs and the line that
    /// resumed it did not end in `&`. A failure forgets the lines after it.
    public func advance() -> Executed? {
        guard !isRunning || isBackground, !isTypingBlock else { return nil }
        return advance(above: 0)
    }

    /// The lines typed now belong to a block: what waits is done after it.
    private var isTypingBlock: Bool { reader != nil && readerBase == 0 }

    private func advance(above base: Int) -> Executed? {
        while true {
            if let ended = script.takeEndedCompound() {
                return Executed(
                    line: ended.line, result: .success(.done(Queued())), compound: ended.line,
                    endsCompound: true)
            }
            guard script.frames.count > base, let step = script.next() else { return nil }
            if let executed = perform(step) { return executed }
            if shouldStop() {
                return Executed(line: "", result: .success(.done(Message("Interrupted."))))
            }
        }
    }

    private func perform(_ step: ScriptStack.Step) -> Executed? {
        let compound = script.compound?.line
        var line = ScriptLine(text: "", place: ScriptPlace(source: "", line: nil))
        do throws(CommandError) {
            switch step {
            case .over:
                guard let reader, script.frames.count < readerBase else { return nil }
                line = reader.innermost
                throw CommandError(
                    "`\(line.text.trimmingSpaces.shortened)` has no `end`", line: line.text, column: 0)
            case .again(let condition):
                line = condition
                script.goRound(try isTrue(condition))
                return nil
            case .statement(.branch(let head, let then, let otherwise), _):
                line = head
                script.beginCompound(head.text.trimmingSpaces)
                let body = try isTrue(head) ? then : otherwise
                try script.push(.init(kind: .branch, content: .statements(body)))
                return nil
            case .statement(.loop(let head, let body), _):
                line = head
                script.beginCompound(head.text.trimmingSpaces)
                // At its end, so that the condition comes first.
                try script.push(.init(kind: .loop(head), content: .statements(body), next: body.count))
                return nil
            case .statement(.block(let lines), _):
                line = lines[0]
                var lines = lines
                lines[0].text = try expanded(lines[0].text)
                try script.push(.init(kind: .lines, content: .lines(lines)))
                return nil
            case .statement(.line(let next), let isHooked):
                line = next
                // Blank lines and comments belong to the text of `document`.
                if reader == nil, next.isEmpty { return nil }
                if reader == nil { line.text = try expanded(line.text) }
                let outcome = try execute(line.text, origin: .script, place: line.place, isHooked: isHooked)
                if case .done(let output) = outcome, output is Queued { return nil }
                return Executed(line: line.text, result: .success(outcome), compound: compound)
            }
        } catch {
            cancelQueue()
            var placed = error
            if placed.place == nil { placed.place = line.place.description }
            return Executed(
                line: line.text, result: .failure(placed), compound: compound, endsCompound: compound != nil)
        }
    }

    private func expanded(_ text: String) throws(CommandError) -> String {
        guard let arguments = script.arguments else { return text }
        return try arguments.expanded(text)
    }

    /// The condition of `if` and `while`.
    private func isTrue(_ head: ScriptLine) throws(CommandError) -> Bool {
        let call = try Invocation(try expanded(head.text), table: table)
        return try number(call.rest, call) != 0
    }

    // MARK: - Output that a command takes

    /// What a line shows, and all that it leaves to do: for a program, or a file. A guest that it resumes is waited for.
    func captured(_ line: String, _ call: Invocation) throws(CommandError) -> String {
        try captured(
            call,
            { () throws(CommandError) in
                let outcome = try self.execute(
                    line, origin: .script, place: self.currentPlace, isHooked: true)
                guard self.reader == nil else {
                    self.reader = nil
                    throw call.error("`pipe` takes a command that is whole, not one that opens a block")
                }
                return outcome
            })
    }

    /// - Parameters:
    ///   - begin: does the first of it, or queues it.
    ///   - isKept: what of it is text for the caller.
    func captured(
        _ call: Invocation, _ begin: () throws(CommandError) -> Outcome,
        keeping isKept: (any CommandOutput) -> Bool = { _ in true }
    ) throws(CommandError) -> String {
        guard captureDepth < Self.deepestCapture else {
            throw call.error("`pipe` is nested more than \(Self.deepestCapture) deep")
        }
        let outside = script.barrier
        let base = script.frames.count
        script.barrier = base
        captureDepth += 1
        defer {
            captureDepth -= 1
            script.barrier = outside
        }
        var text = try captured(try begin(), isKept)
        while let next = advance(above: base) {
            if shouldStop() { throw call.error("interrupted") }
            switch next.result {
            case .success(let outcome): text += try captured(outcome, isKept)
            case .failure(let error): throw error
            }
        }
        return text
    }

    private static let deepestCapture = 8

    private func captured(
        _ outcome: Outcome, _ isKept: (any CommandOutput) -> Bool
    ) throws(CommandError) -> String {
        func text(_ output: any CommandOutput) -> String {
            isKept(output) ? output.plainText(width: Self.pipeWidth) : ""
        }
        switch outcome {
        case .done(let output): return text(output)
        case .quit: throw CommandError("`quit` cannot be given to another command")
        case .running(let running):
            if running.isBackground { return text(running) }
            var isTold = false
            while true {
                if let stop = try collectStop(timeout: .milliseconds(50)) { return text(stop) }
                if !isRunning { return "" }
                if !isTold, shouldStop() {
                    isTold = true
                    debugger.interrupt()
                }
            }
        }
    }

    /// Columns of what goes to programs and files, which have no width.
    private static let pipeWidth = 100

    // MARK: - What waits

    /// Puts lines in front of those that wait, as `source` does with a file's.
    public func enqueue(_ lines: [String], place: String) {
        guard !lines.isEmpty else { return }
        let place = ScriptPlace(source: place, line: nil)
        do {
            try script.push(
                .init(kind: .lines, content: .lines(lines.map { ScriptLine(text: $0, place: place) })))
        } catch {
            announce(error.description)
        }
    }

    /// Puts the lines of a file in front of those that wait.
    /// - Returns: how many of them are neither blank nor a comment.
    func enqueue(_ lines: [Substring], file: String, _ call: Invocation) throws(CommandError) -> Int {
        guard script.sourceDepth < ScriptStack.deepestSource else {
            throw call.error(
                "files source files more than \(ScriptStack.deepestSource) deep",
                remedy: "\(file) is probably sourced by a file that it sources")
        }
        let all = lines.enumerated().map { index, line in
            ScriptLine(text: String(line), place: ScriptPlace(source: file, line: index + 1))
        }
        // Those at the end would stand for something that waits.
        let last = all.lastIndex { !$0.isEmpty } ?? -1
        try script.push(.init(kind: .source, content: .lines(Array(all.prefix(last + 1)))))
        return all.count { !$0.isEmpty }
    }

    /// Lines wait to be done.
    public var hasQueuedLines: Bool { !script.isEmpty && !isTypingBlock }

    /// Forgets what waits, and a block that one of its lines began.
    public func cancelQueue() {
        script.clear()
        if readerBase > 0 { reader = nil }
        unfinished = ""
    }

    /// Asked between queued lines by a front end that hears of Ctrl-C in no other way: forgets them, and says so; nil
    /// where nobody pressed it.
    public func endIfInterrupted() -> (any CommandOutput)? {
        let left = script.left
        guard !script.isEmpty, shouldStop() else { return nil }
        return Message(
            left == 0
                ? "Interrupted."
                : "Interrupted: \(counted(left, "line")) of what was sourced \(left == 1 ? "is" : "are") not done."
        )
    }

    // MARK: - Blocks

    /// The lines typed now belong to a block, up to `end`.
    public var isCollectingCommands: Bool { reader != nil }

    /// What a person is asked with for the next line.
    public var prompt: String { isCollectingCommands || !unfinished.isEmpty ? "> " : "(kvmscope) " }

    /// Forgets a block that is being typed. False where there is none.
    @discardableResult
    public func abandonBlock() -> Bool {
        defer { reader = nil }
        unfinished = ""
        return reader != nil
    }

    /// Takes the lines that follow, up to `end`.
    func beginBlock(_ kind: BlockKind, _ text: String) {
        reader = BlockReader(kind, ScriptLine(text: text, place: currentPlace))
        readerBase = script.frames.count
    }

    /// `commands`: the lines that follow are a breakpoint's.
    func collectCommands(for number: Int, _ text: String) {
        beginBlock(.commands, text)
        readerBreakpoint = number
    }

    /// Takes a line of the block that is being read; at its end it is done, or kept.
    func collect(_ text: String, _ place: ScriptPlace?) throws(CommandError) -> Outcome {
        guard let started = reader else { return .done(Queued()) }
        let typed = ScriptPlace(source: "typed", line: started.lines.count + 2)
        let line = ScriptLine(text: text, place: place ?? typed)
        // Blank lines are a document's alone.
        if started.kind != .document, line.text.allSatisfy(\.isWhitespace) { return .done(Queued()) }
        let isWhole: Bool
        do {
            isWhole = try reader?.take(line) ?? true
        } catch {
            reader = nil
            throw error
        }
        guard isWhole, let block = reader else { return .done(Queued()) }
        reader = nil
        switch block.kind {
        case .if, .while:
            try script.push(.init(kind: .lines, content: .statements([block.statement()])))
            return .done(Queued())
        case .define: return .done(try define(block))
        case .document: return .done(document(block))
        case .commands:
            let lines = block.lines.map(\.text.trimmingSpaces)
            do throws(DebuggerError) {
                try debugger.setBreakpoint(readerBreakpoint, commands: lines)
            } catch {
                throw CommandError(error)
            }
            return .done(Message.commands(lines.count, of: readerBreakpoint))
        }
    }

    private func define(_ block: BlockReader) throws(CommandError) -> any CommandOutput {
        let name = block.first.words.rest
        try userCommands.set(
            UserCommand(name: name, body: block.statements(), lines: block.lines.map(\.text)))
        return Message("Defined `\(name)`.")
    }

    private func document(_ block: BlockReader) -> any CommandOutput {
        let name = block.first.words.rest
        userCommands.document(name, block.lines.map(\.text))
        return Message("Documented `\(name)`.")
    }

    // MARK: - Commands of the user's

    /// The command of the user's that a line calls.
    func userCommand(of line: String) -> UserCommand? {
        userCommands.all.isEmpty ? nil : userCommands[ScriptLine.words(of: line).first]
    }

    /// Queues the body of a command of the user's.
    func call(_ command: UserCommand, _ line: String) throws(CommandError) {
        let words = split(Argument(text: ScriptLine.words(of: line).rest, column: 0)).map { argument in
            argument.isQuoted ? "\"\(argument.text)\"" : argument.text
        }
        script.beginCompound(line.trimmingSpaces)
        try script.push(
            .init(
                kind: .call(name: command.name, CallArguments(words: words)),
                content: .statements(command.body)))
    }

    /// Queues a line with the hooks before and after it. False where it has none.
    func queueHooked(_ line: String, _ name: String, _ place: ScriptPlace?) throws(CommandError) -> Bool {
        guard !userCommands.all.isEmpty, !script.isHooking(name) else { return false }
        let (before, after) = (userCommands.hook(.before, name), userCommands.hook(.after, name))
        guard before != nil || after != nil else { return false }
        if let after { try pushHook(after, name) }
        let line = ScriptLine(text: line, place: place ?? ScriptPlace(source: "typed", line: nil))
        try script.push(.init(kind: .unhooked, content: .lines([line])))
        if let before { try pushHook(before, name) }
        return true
    }

    private func pushHook(_ hook: UserCommand, _ name: String) throws(CommandError) {
        try script.push(.init(kind: .hook(name), content: .statements(hook.body)))
    }

    /// Queues `hook-stop`.
    func queueStopHook() {
        guard let hook = userCommands.hook(.before, "stop"), !script.isHooking("stop") else { return }
        do {
            try pushHook(hook, "stop")
        } catch {
            announce(error.description)
        }
    }
}

/// A line that has yielded nothing yet: it belongs to a block, or what it stands for waits to be done. Front ends show
/// nothing of it.
public struct Queued: CommandOutput, Hashable {
    public init() {}
    public func lines(width: Int) -> [StyledLine] { [] }
}
