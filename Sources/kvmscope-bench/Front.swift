import CBench
import Commands
import Debugger
import Glibc
import GuestView
import Interface
import Terminal

/// The command as it is typed, `step N`, through the session, to the text that is shown.
func commandFigure(count: Int, rounds: Int) throws -> Figure {
    let session = try Session(debugger: Debugger(target: benchMachine(CBENCH_STEP)))
    return try compare(
        "the command step \(count)", atLeast: 0.75, guest: CBENCH_STEP, count: count, rounds: rounds
    ) { count in
        guard case .running = try session.execute("step \(count)"),
            let output = try session.collectStop(timeout: .seconds(120)),
            !output.lines(width: 120).isEmpty, session.debugger.stop.steps == count
        else { throw BenchFailure("step \(count) did not end as it should") }
    }
}

/// One `step` command after another, each as a front end gives it: the line is executed, the stop is waited for at its
/// descriptor and collected, and its text is made.
func singleStepFigure(count: Int, rounds: Int) throws -> Figure {
    let session = try Session(debugger: Debugger(target: benchMachine(CBENCH_STEP)))
    return try compare(
        "one `step` command after another", atLeast: nil, guest: CBENCH_STEP, count: count, rounds: rounds
    ) { count in
        for _ in 0..<count {
            guard case .running = try session.execute("step") else {
                throw BenchFailure("`step` did not start")
            }
            var output: (any CommandOutput)?
            while output == nil {
                var entry = pollfd(fd: session.debugger.stopDescriptor, events: Int16(POLLIN), revents: 0)
                _ = poll(&entry, 1, 1000)
                output = try session.collectStop(timeout: .zero)
            }
            guard output?.lines(width: 120).isEmpty == false, session.debugger.stop.steps == 1 else {
                throw BenchFailure("a step ended in \(session.debugger.stop.reason)")
            }
        }
    }
}

/// A full view and draw at 200x60: made by a child of this program that has such a terminal.
func viewFigure(program: String, frames: Int) throws -> Figure {
    let report = "/tmp/kvmscope-bench-\(getpid())"
    defer { unlink(report) }
    let child = try WholeProgram(
        program, ["--draw", "\(frames)", "--draw-report", report], columns: 200, rows: 60)
    _ = child.drain(silence: 2000)
    let numbers = fileText(report).split(separator: " ").compactMap { Double($0) }
    guard numbers.count == 3 else { throw BenchFailure("the drawing child gave no figures") }
    return Figure(
        name: "one full view and draw at 200x60", value: numbers[0] + numbers[1], unit: "ms", line: .under(4),
        parts: [("view", numbers[0], "ms"), ("draw", numbers[1], "ms"), ("gather", numbers[2], "ms")])
}

/// What the child does: steps, gathers, views and draws every cell anew; medians in milliseconds to `report`.
func drawFrames(_ frames: Int, report: String) throws {
    let session = try Session(debugger: Debugger(target: benchMachine(CBENCH_STEP)))
    let display = try Display()
    defer { display.close() }
    guard display.size == Size(width: 200, height: 60) else {
        throw BenchFailure("the terminal is \(display.size.width)x\(display.size.height), not 200x60")
    }
    let gatherer = Gatherer(session: session)
    var model = Model(size: display.size)
    var views: [Double] = []
    var draws: [Double] = []
    var gathers: [Double] = []
    for _ in 0..<frames {
        _ = try session.debugger.step()
        var guest: GuestView?
        gathers.append(timed { guest = gatherer.gather(model.needs) })
        if let guest { _ = model.update(.guest(guest)) }
        var screen: Screen?
        views.append(timed { screen = model.view() })
        // All cells are sent again, not only those that changed.
        display.forget()
        if let screen { draws.append(timed { display.draw(screen) }) }
    }
    let line = [views, draws, gathers].map { decimal(median($0) / 1e6) }.joined(separator: " ")
    let file = open(report, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    guard file >= 0 else { throw BenchFailure("\(report) cannot be written") }
    defer { close(file) }
    _ = line.withCString { write(file, $0, strlen($0)) }
}
