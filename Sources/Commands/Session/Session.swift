import DebugTarget
public import Debugger
import KVMCore
package import Monitor
import Symbols
import SystemPackage
import X86

/// A user's session with one guest: the debugger, the command table, and what one command leaves for the next.
///
/// Belongs to one thread. It reads and writes no terminal: text comes in, values go out.
public final class Session {
    /// Who typed a line.
    public enum Origin: Sendable, Hashable {
        /// A person: an empty line repeats the last repeatable command, and the line goes to the history.
        case interactive
        /// A file or an option: an empty line does nothing.
        case script
    }

    /// A queued line and what came of it.
    public struct Executed: Sendable {
        public var line: String
        public var result: Result<Outcome, CommandError>
    }

    public let debugger: Debugger
    let table: CommandTable
    /// The lines typed so far, oldest first.
    public private(set) var history: [String] = []

    /// Where `x` and `u` go on when Enter repeats them, and the letters they keep.
    var examine = ExamineState()
    /// The file that `list` showed last, and the line it goes on with.
    var listing: (path: String, next: Int)?
    /// That interrupts cannot be held off was said.
    var hasToldOfInterrupts = false
    /// What was last said of tracing.
    var toldTracing = false
    /// What was found to be loaded, for a front end to say before anything else; nil where nothing was to be found.
    public var greeting: String? {
        guard let image = (debugger.target as? any ImageProviding)?.loadedImage, let found = image.description
        else { return nil }
        let own = debugger.symbols.files.first { $0.path == image.name }
        let loaded = own.map { "; its \(counted($0.symbols, "symbol")) are loaded" } ?? ""
        return "\(image.name.printable): \(found.printable)\(loaded)"
    }
    let threads: ThreadTimes
    /// Counts the exits of a guest that another program runs; nil for one of our own, whose exits come to us.
    package var hostExits: HostExits?
    /// Serves other programs that debug the same guest; nil while nobody is served.
    public internal(set) var service: (any SessionService)?
    /// Makes a service that listens at an address; nil where this front end can have none.
    public var serviceMaker: ((Session, String) throws(CommandError) -> any SessionService)?
    /// What becomes of the guest when a client goes away.
    public var disconnectPolicy = DisconnectPolicy.automatic
    /// What services have to say to the session's user, oldest first.
    var notices: [String] = []
    /// A client has ended the guest, and with it the session.
    public internal(set) var isEnded = false
    /// What is shown after every stop.
    var displays: [Int: Display] = [:]
    var nextDisplay = 1

    /// Asked now and then by a command that takes long: true ends it with what it has. Set by the front end, which
    /// knows what the user types meanwhile.
    public var cancelRequested: () -> Bool = { false }
    /// The command done last was ended so.
    public private(set) var wasCancelled = false
    private var nextLook = ContinuousClock.now

    /// The line that let the guest go last: what a stop that nobody waited for belongs to.
    public private(set) var runningLine = ""
    /// That line ended in `&`, or the guest ran before there was any: nobody waits for a stop.
    private(set) var isBackground: Bool

    /// The breakpoint whose commands are being given, and those given so far.
    private var collecting: (number: Int, lines: [String])?

    private var lastRepeatable: String?
    /// The next line is the last: a long file is then not moved for each of its lines.
    private var queue: [QueuedLine] = []
    private var currentDepth = 0
    private var currentOrigin = Origin.script

    private struct QueuedLine {
        var text: String
        var place: String
        var depth: Int
    }

    /// Files may source files; this deep, it is one that sources itself.
    static let deepestSource = 16
    /// Lines kept by ``history``.
    static let longestHistory = 1000

    public init(debugger: Debugger) {
        self.debugger = debugger
        isBackground = debugger.isRunning
        self.table = .standard
        self.threads = ThreadTimes(debugger.target.vcpus)
    }

    /// True from an outcome ``Outcome/running(_:)`` until ``collectStop(timeout:)`` has the stop.
    public var isRunning: Bool { debugger.isRunning }

    /// Does one line. An empty one, or one that starts with `#`, does nothing, unless a person repeats a
    /// command with it.
    public func execute(_ line: String, origin: Origin = .interactive) throws(CommandError) -> Outcome {
        try execute(line, origin: origin, depth: 0)
    }

    /// The arguments of a line, which is taken apart and not done.
    package func arguments(of line: String) throws(CommandError) -> [String] {
        let call = try Invocation(line, table: table)
        _ = try DisplayFormat(call.format, in: call)
        return call.arguments.map(\.text)
    }

    /// The command that a line names; nil for none.
    package func command(of line: String) -> Command? { (try? Invocation(line, table: table))?.command }

    private func execute(_ line: String, origin: Origin, depth: Int) throws(CommandError) -> Outcome {
        if collecting != nil { return try collect(line) }
        let isBlank = line.allSatisfy(\.isWhitespace)
        var text = line
        var isRepeat = false
        if isBlank {
            guard origin == .interactive, let last = lastRepeatable else { return .done(Silence()) }
            text = last
            isRepeat = true
        }
        if text.first(where: { !$0.isWhitespace }) == "#" { return .done(Silence()) }
        if origin == .interactive, !isRepeat { remember(text) }

        // What fails is not worth repeating: Enter after an error must not do an older command.
        let last = lastRepeatable
        lastRepeatable = nil
        var call = try Invocation(text, table: table)
        call.isRepeat = isRepeat
        if isRunning, !call.command.worksWhileRunning {
            // Enter after `continue &`: there is nothing to do again until it stops.
            if isRepeat {
                lastRepeatable = last
                return .done(Silence())
            }
            throw call.error(
                "`\(call.command.name)` needs a guest that is stopped", at: Argument(text: "", column: 0),
                remedy: "stop it first: `stop`, Ctrl-C or F12")
        }
        if debugger.isDetached, call.command.category != .other {
            throw call.error(
                "the guest was detached", at: Argument(text: "", column: 0),
                remedy: "`quit`, and attach again to go on debugging it")
        }
        currentDepth = depth
        currentOrigin = origin
        let before = debugger.standstills
        wasCancelled = false
        let background = call.takeBackgroundMark()
        var outcome = try call.command.action(self, call)
        if call.command.isRepeatable, origin == .interactive { lastRepeatable = text }
        if case .done(let result) = outcome, !(result is DetachOutput), let now = debugger.standstills,
            now.count != before?.count
        {
            let isCommon = now.commonStops != before?.commonStops
            outcome = .done(StoodStill(result, now.last, spread: isCommon ? now.spread : nil))
        }
        if case .running(var running) = outcome, running.action != "stop" {
            running.isBackground = background
            outcome = .running(running)
            runningLine = text
            isBackground = background
        }
        return outcome
    }

    private func remember(_ line: String) {
        history.append(line)
        if history.count > Self.longestHistory { history.removeFirst() }
    }

    // MARK: - A guest that runs

    /// What the stop says once the guest is stopped, or nil if it still runs after `timeout` (nil: wait for
    /// ever). Also nil when nothing runs.
    public func collectStop(timeout: Duration?) throws(CommandError) -> (any CommandOutput)? {
        guard isRunning else { return nil }
        do {
            guard let stop = try takeStop(timeout: timeout) else { return nil }
            guard !stop.commands.isEmpty else { return stopOutput(for: stop) }
            var lines = stop.commands
            let isSilent = lines.first == "silent"
            if isSilent { lines.removeFirst() }
            enqueue(lines, place: "commands")
            var output = StopOutput(stop, line: stopLine(stop.vcpu))
            explainError(&output, stop)
            output.isSilent = isSilent
            return output
        } catch {
            throw CommandError(error)
        }
    }

    /// As ``collectStop(timeout:)``, where nobody looks at the output: clients are told, and that is all.
    public func passStop(timeout: Duration?) throws(CommandError) -> Bool {
        guard isRunning else { return false }
        do {
            guard let stop = try takeStop(timeout: timeout) else { return false }
            enqueue(stop.commands.filter { $0 != "silent" }, place: "commands")
            return true
        } catch {
            throw CommandError(error)
        }
    }

    /// The clients are told first: they wait, and making the output takes longer than a step.
    private func takeStop(timeout: Duration?) throws(DebuggerError) -> Stop? {
        do throws(DebuggerError) {
            guard let stop = try debugger.collectStop(timeout: timeout) else { return nil }
            service?.guestStopped(stop)
            return stop
        } catch {
            if !isRunning { service?.stopFailed(error) }
            throw error
        }
    }

    /// Lets the guest go for a client; nobody at this front end waits for the stop.
    package func resume(
        for client: String, _ start: () throws(DebuggerError) -> Void
    ) throws(DebuggerError) {
        try start()
        runningLine = client
        isBackground = true
    }

    /// The output of a stop, as `step` and `continue` give it.
    public func stopOutput(for stop: Stop) -> any CommandOutput {
        let line = stopLine(stop.vcpu)
        // `list` begins where the guest stands now.
        listing = nil
        var output = StopOutput(
            stop, line: line, source: line?.source.flatMap(sourceText),
            displays: debugger.keeping { displayRows() })
        explainError(&output, stop)
        noteInterrupts(&output, stop)
        noteTracing(&output)
        return output
    }

    /// The text of a source line, where its file can be found.
    private func sourceText(_ line: SourceLine) -> String? {
        debugger.sources.line(line.line, of: line.path).map(String.init)
    }

    /// What a long command asks as often as it likes: the front end is asked fifty times a second at most.
    func shouldStop() -> Bool {
        if wasCancelled { return true }
        let now = ContinuousClock.now
        guard now >= nextLook else { return false }
        nextLook = now + .milliseconds(20)
        if cancelRequested() {
            wasCancelled = true
            cancelQueue()
        }
        return wasCancelled
    }

    /// What it reads is kept: the stop can be shown again when it is past.
    private func stopLine(_ vcpu: Int) -> StopLine? {
        debugger.keeping { try? debugger.stopLine(vcpu: vcpu) }
    }

    /// Everything about the guest up to the current stop.
    public func report() -> any CommandOutput {
        let stop = debugger.stop
        let statistics = debugger.target.exits.statistics()
        var stopOutput = StopOutput(stop, line: stopLine(stop.vcpu))
        explainError(&stopOutput, stop)
        let consoles = (debugger.target as? any ConsoleProviding).map { ConsolesOutput($0).consoles } ?? []
        return ReportOutput(
            guest: debugger.target.name, stop: stopOutput,
            vcpus: debugger.target.vcpus.map { vcpuOutput($0, stop[$0.id], statistics) },
            consoles: consoles, exits: ExitsOutput(statistics, recent: []))
    }

    /// One vCPU, the state of which is at hand.
    func vcpuOutput(
        _ identity: VCPUIdentity, _ snapshot: VCPUSnapshot?, _ statistics: ExitStatistics
    ) -> VCPUOutput {
        let exits = statistics.vcpu(identity.id)
        // What the vCPU waits for is a fact of the kernel's; a target may not know it.
        let state = try? debugger.mpState(vcpu: identity.id)
        return VCPUOutput(
            identity, snapshot, mpState: state, host: threads.sample(identity),
            exits: exits?.total ?? ExitCount(), mostFrequent: exits?.rows.first?.key.name)
    }

    /// `stop`: a person's ends what a file is doing, too; a file's own is one of its steps.
    func stopCommand() {
        if currentOrigin == .interactive { cancelQueue() }
        debugger.interrupt()
    }

    /// Asks a running guest to stop, and forgets the queued lines.
    public func interrupt() {
        cancelQueue()
        debugger.interrupt()
    }

    // MARK: - Queued lines

    /// Asked between queued lines by a front end that hears of Ctrl-C in no other way: forgets them, and says so; nil
    /// where nobody pressed it.
    public func endIfInterrupted() -> (any CommandOutput)? {
        let left = queue.count
        guard left > 0, shouldStop() else { return nil }
        return Message(
            "Interrupted: \(counted(left, "line")) of what was sourced \(left == 1 ? "is" : "are") not done.")
    }

    /// Does the next line that `source` queued; nil when there is none, or while the guest runs and the line that
    /// resumed it did not end in `&`. A failure forgets the lines after it.
    public func advance() -> Executed? {
        guard !isRunning || isBackground, let next = queue.popLast() else { return nil }
        do {
            return Executed(
                line: next.text,
                result: .success(try execute(next.text, origin: .script, depth: next.depth)))
        } catch {
            cancelQueue()
            var placed = error
            placed.place = next.place
            return Executed(line: next.text, result: .failure(placed))
        }
    }

    /// Puts lines in front of those that wait, as `source` does with a file's.
    public func enqueue(_ lines: [String], place: String) {
        queue += lines.reversed().map { QueuedLine(text: $0, place: place, depth: 0) }
    }

    /// Lines wait to be done.
    public var hasQueuedLines: Bool { !queue.isEmpty }
    /// The lines typed now belong to a breakpoint, up to `end`.
    public var isCollectingCommands: Bool { collecting != nil }

    /// `commands`: the lines that follow are a breakpoint's.
    func collectCommands(for number: Int) { collecting = (number, []) }

    private func collect(_ line: String) throws(CommandError) -> Outcome {
        guard let (number, lines) = collecting else { return .done(Silence()) }
        var text = line[...]
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        guard text == "end" else {
            if !text.isEmpty { collecting = (number, lines + [String(text)]) }
            return .done(Silence())
        }
        collecting = nil
        do {
            try debugger.setBreakpoint(number, commands: lines)
        } catch {
            throw CommandError(error)
        }
        return .done(Message.commands(lines.count, of: number))
    }

    /// Forgets what `source` queued.
    public func cancelQueue() { queue.removeAll() }

    /// Puts the lines of a file in front of those that wait; blank lines and comments are left out.
    /// - Returns: how many lines wait now because of it.
    func enqueue(_ lines: [Substring], file: String, _ call: Invocation) throws(CommandError) -> Int {
        guard currentDepth < Self.deepestSource else {
            throw call.error(
                "files source files more than \(Self.deepestSource) deep",
                remedy: "\(file) is probably sourced by a file that it sources")
        }
        var found: [QueuedLine] = []
        for (index, line) in lines.enumerated() {
            guard let first = line.first(where: { !$0.isWhitespace }), first != "#" else { continue }
            found.append(
                QueuedLine(text: String(line), place: "\(file):\(index + 1)", depth: currentDepth + 1))
        }
        queue += found.reversed()
        return found.count
    }
}

/// What `x` and `u` remember.
struct ExamineState {
    var letter = DisplayFormat.Letter.hex
    var unit = DisplayFormat.Unit.word
    /// Where the last `x` or `xp` ended.
    var next: Address?
    /// Where the last `u` or `x/i` ended.
    var nextCode: Address?
}

extension CommandError {
    init(_ error: DebuggerError) {
        self.init(error.message, remedy: error.words)
    }
}

extension Invocation {
    /// Does `body`; a failure gets this line, and a caret in `argument` where the error knows a place in it.
    func perform<R>(
        at argument: Argument? = nil, _ body: () throws(DebuggerError) -> R
    ) throws(CommandError) -> R {
        do {
            return try body()
        } catch {
            var lifted = CommandError(error)
            lifted.line = line
            if let column = error.column {
                lifted.column = (argument ?? rest).column + column
            } else if let argument {
                lifted.column = argument.column
            }
            throw lifted
        }
    }
}
