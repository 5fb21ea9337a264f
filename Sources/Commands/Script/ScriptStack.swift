/// What waits to be done: lines of files and of breakpoints, branches, loops and calls, the innermost on top.
struct ScriptStack {
    struct Frame {
        enum Kind {
            /// Lines that were given: a breakpoint's commands, the command line's.
            case lines
            /// A file's.
            case source
            case branch
            /// With the line that has its condition.
            case loop(ScriptLine)
            case call(name: String, CallArguments)
            /// Of the command of this name.
            case hook(String)
            /// A line whose hooks stand around it already.
            case unhooked
        }
        enum Content {
            case lines([ScriptLine])
            case statements([Statement])
        }

        var kind: Kind
        var content: Content
        /// The index of what comes next.
        var next = 0

        var count: Int {
            switch content {
            case .lines(let lines): lines.count
            case .statements(let statements): statements.count
            }
        }
        var left: Int { count - next }
        /// It is a part of one command of the user's.
        var isCompound: Bool {
            switch kind {
            case .branch, .loop, .call: true
            case .lines, .source, .hook, .unhooked: false
            }
        }
    }

    /// What is to be done next.
    enum Step {
        case statement(Statement, isHooked: Bool)
        /// A loop has come to its end: its condition decides whether it is done again.
        case again(ScriptLine)
        /// A file, or other lines that were given, is over.
        case over
    }

    /// `if`, `while` or a command of the user's, with all that belongs to it.
    struct Compound {
        /// The frames below it.
        var base: Int
        /// Its first line.
        var line: String
    }

    /// Files that source files, and calls that call: this deep, it is one that goes on for ever.
    static let deepestSource = 16
    static let deepestCall = 200
    static let deepest = 1000

    private(set) var frames: [Frame] = []
    private(set) var compound: Compound?
    /// Frames below stay as they are: what is above them is done for a command of theirs.
    var barrier = 0

    /// Lines and blocks that wait, of all frames.
    var left: Int { frames.reduce(0) { $0 + $1.left } }
    /// There is something to do, or to say, before it is over.
    var isEmpty: Bool { compound == nil && frames.allSatisfy { $0.left == 0 && !$0.isCompound } }

    var sourceDepth: Int { frames.count { if case .source = $0.kind { true } else { false } } }

    /// The words that the innermost call was given.
    var arguments: CallArguments? {
        for frame in frames.reversed() {
            if case .call(_, let arguments) = frame.kind { return arguments }
        }
        return nil
    }

    /// The hooks of this command are being done.
    func isHooking(_ name: String) -> Bool {
        frames.contains { if case .hook(name) = $0.kind { true } else { false } }
    }

    mutating func push(_ frame: Frame) throws(CommandError) {
        // What has nothing left needs no frame: a breakpoint's `continue` pushes its next stop's lines for ever.
        dropFinished()
        guard frames.count < Self.deepest else {
            throw CommandError("scripts are nested more than \(Self.deepest) deep")
        }
        if case .call(let name, _) = frame.kind {
            let depth = frames.count { if case .call = $0.kind { true } else { false } }
            guard depth < Self.deepestCall else {
                throw CommandError(
                    "commands of yours call each other more than \(Self.deepestCall) deep",
                    remedy: "`\(name)` probably calls itself without an end")
            }
        }
        frames.append(frame)
    }

    /// The frame that is pushed next belongs to the command that begins with `line`, unless one is being done already.
    mutating func beginCompound(_ line: String) {
        guard compound == nil else { return }
        dropFinished()
        compound = Compound(base: frames.count, line: line)
    }

    private mutating func dropFinished() {
        let floor = max(barrier, compound?.base ?? 0)
        while let last = frames.last, last.left == 0, !last.isCompound, frames.count > floor {
            if case .source = last.kind { break }
            frames.removeLast()
        }
    }

    /// The command that has come to its end, once.
    mutating func takeEndedCompound() -> Compound? {
        guard let ended = compound, frames.count <= ended.base else { return nil }
        compound = nil
        return ended
    }

    /// Forgets all that is above so many frames.
    mutating func cut(to count: Int) {
        frames.removeSubrange(min(count, frames.count)...)
        if let base = compound?.base, base >= count { compound = nil }
    }

    mutating func clear() {
        frames.removeAll()
        compound = nil
    }

    /// Takes the next step; nil where nothing waits.
    mutating func next() -> Step? {
        guard let frame = frames.last else { return nil }
        guard frame.left > 0 else {
            if case .loop(let condition) = frame.kind { return .again(condition) }
            frames.removeLast()
            return .over
        }
        frames[frames.count - 1].next += 1
        let isHooked = if case .unhooked = frame.kind { false } else { true }
        switch frame.content {
        case .lines(let lines): return .statement(.line(lines[frame.next]), isHooked: isHooked)
        case .statements(let statements): return .statement(statements[frame.next], isHooked: isHooked)
        }
    }

    /// Begins the loop on top again, or ends it.
    mutating func goRound(_ again: Bool) {
        guard !frames.isEmpty else { return }
        if again { frames[frames.count - 1].next = 0 } else { frames.removeLast() }
    }

    /// `loop_break` and `loop_continue`. False outside of a loop.
    mutating func leaveRound(endingLoop: Bool) -> Bool {
        var depth = frames.count
        while depth > 0 {
            let frame = frames[depth - 1]
            switch frame.kind {
            case .loop:
                frames.removeSubrange((endingLoop ? depth - 1 : depth)...)
                if !endingLoop { frames[depth - 1].next = frames[depth - 1].count }
                return true
            case .branch, .unhooked: depth -= 1
            // Lines of the loop's own that stand for a block.
            case .lines where frame.left == 0: depth -= 1
            case .lines, .source, .call, .hook: return false
            }
        }
        return false
    }
}
