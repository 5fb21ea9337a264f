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
    public internal(set) var wasCancelled = false
    private var nextLook = ContinuousClock.now
    /// When the command at hand began.
    private var began = ContinuousClock.now

    /// The line that resumed the guest last: what a stop that nobody waited for belongs to.
    public private(set) var runningLine = ""
    /// That line ended in `&`, or the guest ran before there was any: nobody waits for a stop.
    private(set) var isBackground: Bool

    /// What waits to be done.
    var script = ScriptStack()
    /// The block that is being read, and how deep in the script the line that began it stands; 0 for a typed one.
    var reader: BlockReader?
    var readerBase = 0
    /// The breakpoint whose commands are being given.
    var readerBreakpoint = 0
    /// Commands of the user's own.
    var userCommands = UserCommands()
    /// Lines that ended in a backslash, for the next one to go on.
    var unfinished = ""
    /// Where the line at hand stands.
    private(set) var currentPlace = ScriptPlace(source: "typed", line: 1)
    private var currentOrigin = Origin.script
    private var lastRepeatable: String?
    /// Commands whose output another one takes.
    var captureDepth = 0
    /// The status that `quit` asks the program to end with.
    public internal(set) var exitStatus: Int32?
    /// A stop that came while a command waited for something else.
    var keptStop: Stop?
    /// The arguments of kvmscope that start this guest; nil where it was started in another way.
    public var guestArguments: [String]?
    /// The screen that the session is shown on; nil for lines.
    public weak var screen: (any ScreenControl)?
    /// Told now and then by a command that takes long, how long it has taken.
    public var progress: (Duration) -> Void = { _ in }
    /// Commands that set up what the front end keeps: its layout.
    public var frontEndLines: () -> [String] = { [] }
    /// What commands may do beside the guest.
    public var hostAccess = HostAccess.all
    /// Where output is written to a file, too.
    public let log = OutputLog()

    /// Lines kept by ``history``.
    static let longestHistory = 1000

    public init(debugger: Debugger) {
        self.debugger = debugger
        isBackground = debugger.isRunning
        self.table = .standard
        self.threads = ThreadTimes(debugger.target.vcpus)
    }

    /// True from an outcome ``Outcome/running(_:)`` until ``collectStop(timeout:)`` has the stop.
    public var isRunning: Bool { debugger.isRunning || keptStop != nil }

    /// Does one line. An empty one, or one that starts with `#`, does nothing, unless a person repeats a
    /// command with it. What it leaves to do, ``advance()`` does.
    public func execute(_ line: String, origin: Origin = .interactive) throws(CommandError) -> Outcome {
        try execute(line, origin: origin, place: nil, isHooked: true)
    }

    /// The arguments of a line, which is taken apart and not done.
    package func arguments(of line: String) throws(CommandError) -> [String] {
        let call = try Invocation(line, table: table)
        _ = try DisplayFormat(call.format, in: call)
        return call.arguments.map(\.text)
    }

    /// The command that a line names; nil for none.
    package func command(of line: String) -> Command? { (try? Invocation(line, table: table))?.command }

    /// - Parameters:
    ///   - place: where the line stands; nil for one that was typed.
    ///   - isHooked: false for a line whose hooks are queued around it.
    func execute(
        _ line: String, origin: Origin, place: ScriptPlace?, isHooked: Bool
    ) throws(CommandError) -> Outcome {
        guard let line = whole(line) else { return .done(Queued()) }
        wasCancelled = false
        if reader != nil { return try collect(line, place) }
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
        currentPlace = place ?? ScriptPlace(source: "typed", line: 1)
        currentOrigin = origin
        if let command = userCommand(of: text) {
            let isQueued = isHooked ? try queueHooked(text, command.name, place) : false
            if !isQueued { try self.call(command, text) }
            if origin == .interactive { lastRepeatable = text }
            return .done(Queued())
        }
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
        if isHooked, try queueHooked(text, call.command.name, place) {
            if call.command.isRepeatable, origin == .interactive { lastRepeatable = text }
            return .done(Queued())
        }
        let before = debugger.standstills
        let background = call.takeBackgroundMark()
        if captureDepth == 0 { began = .now }
        let breakpoint = debugger.lastBreakpoint
        var outcome = try call.command.action(self, call)
        if let set = debugger.lastBreakpoint, set != breakpoint { try noteBreakpoint(set) }
        if call.command.isRepeatable, origin == .interactive { lastRepeatable = text }
        // A script that counts says nothing, as in GDB.
        if case .done(let result) = outcome, call.command.name == "set", script.compound != nil {
            outcome = .done(Quiet(result))
        }
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

    /// A line with those before it that ended in a backslash; nil where it ends in one itself.
    private func whole(_ line: String) -> String? {
        let slashes = line.reversed().prefix { $0 == "\\" }.count
        guard slashes % 2 == 1 else {
            defer { unfinished = "" }
            return unfinished + line
        }
        unfinished += line.dropLast()
        // A file of nothing but such lines is no command.
        guard unfinished.utf8.count <= CallArguments.longest else {
            defer { unfinished = "" }
            return unfinished
        }
        return nil
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
            noteEnd(of: stop)
            defer { queueStopHook() }
            guard !stop.commands.isEmpty else { return stopOutput(for: stop) }
            var lines = stop.commands
            let isSilent = lines.first == "silent"
            if isSilent { lines.removeFirst() }
            enqueue(lines, place: "commands")
            var output = StopOutput(stop, line: stopLine(stop.vcpu))
            explain(&output, stop)
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
            let kept = keptStop
            keptStop = nil
            let taken = kept == nil ? try debugger.collectStop(timeout: timeout) : kept
            guard let stop = taken else { return nil }
            service?.guestStopped(stop)
            return stop
        } catch {
            if !isRunning { service?.stopFailed(error) }
            throw error
        }
    }

    /// Resumes the guest for a client; nobody at this front end waits for the stop.
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
        explain(&output, stop)
        noteInterrupts(&output, stop)
        noteTracing(&output)
        return output
    }

    /// The text of a source line, where its file can be found.
    private func sourceText(_ line: SourceLine) -> String? {
        debugger.sources.line(line.line, of: line.path).map(String.init)
    }

    /// The source line of the code at a linear address, with its text where the file can be found.
    func source(of address: UInt64) -> StopOutput.Source? {
        debugger.symbols.line(at: address).map {
            StopOutput.Source(path: $0.path, line: $0.line, text: sourceText($0))
        }
    }

    /// What a long command asks as often as it likes: the front end is asked fifty times a second at most.
    func shouldStop() -> Bool {
        if wasCancelled { return true }
        let now = ContinuousClock.now
        guard now >= nextLook else { return false }
        nextLook = now + .milliseconds(20)
        if now - began > .milliseconds(400) { progress(now - began) }
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
        explain(&stopOutput, stop)
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
