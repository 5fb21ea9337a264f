import Commands
import DebugTarget
import Interface
import KVMCore
import Monitor
import Terminal

/// The screen of `kvmscope top`: samples as time goes by, and draws after every event.
final class TopScreen {
    private let monitor: Monitor
    private let terminal: ScreenTerminal
    private var model: WatchModel
    private var isOver = false
    private var status: Int32 = 0
    private var interval: UInt64
    private var next: UInt64
    private let server: MetricsServer?
    private var totals = MonitorTotals()

    /// Takes the terminal.
    init(
        monitor: Monitor, only process: Int32?, filter: ReasonFilter?, delay: Double, colours: Bool,
        server: MetricsServer? = nil, symbolizer: HostReport.Symbolizer? = nil
    ) throws {
        self.server = server
        self.monitor = monitor
        interval = UInt64(delay * 1e9)
        try monitor.begin()
        terminal = try ScreenTerminal(prompt: "", colours: colours, history: nil)
        model = WatchModel(
            size: terminal.display.size, names: monitor.source.names, badge: monitor.source.badge,
            only: process, filter: filter, delay: delay, symbolizer: symbolizer)
        next = monotonicTime() + interval
    }

    /// Runs until the user quits or a signal ends it, and gives the terminal back.
    /// - Parameter count: ends after so many samples; nil goes on.
    /// - Returns: the program's status.
    func run(count: Int?) -> Int32 {
        defer { terminal.close() }
        var samples = 0
        while !isOver {
            if monotonicTime() >= next {
                sample()
                samples += 1
                if let count, samples > count { break }
            }
            terminal.display.draw(model.view())
            let now = monotonicTime()
            for event in terminal.wait(
                descriptors: [], milliseconds: now >= next ? 0 : Int((next - now + 999_999) / 1_000_000))
            where !isOver { handle(event) }
        }
        return status
    }

    private func sample() {
        next = max(next + interval, monotonicTime())
        do {
            let sample = try monitor.sample()
            if let server {
                totals.add(sample)
                server.publish(
                    MetricsServer.Page(
                        totals: totals, names: monitor.source.names, badge: monitor.source.badge))
            }
            apply(.sample(sample))
        } catch {
            apply(.problem(error.description))
        }
    }

    private func handle(_ event: TerminalEvent) {
        switch event {
        case .key(let key): apply(.key(key))
        case .interrupt: apply(.key(.control("c")))
        case .wheel(_, _, let lines): apply(.wheel(lines: lines))
        case .pressed(let x, let y): apply(.pressed(x: x, y: y))
        case .resized(let size): apply(.resized(size))
        case .terminate(let signal):
            status = kvmscope.status(ofSignal: signal)
            isOver = true
        case .ready, .timeout: break
        }
    }

    private func apply(_ event: WatchEvent) {
        for effect in model.update(event) {
            switch effect {
            case .quit: isOver = true
            case .redraw: terminal.display.forget()
            case .suspend:
                terminal.display.suspend()
                apply(.resized(terminal.display.size))
            case .setDelay(let seconds):
                interval = UInt64(seconds * 1e9)
                next = monotonicTime() + interval
            case .countInstructionPointers(let isWanted):
                do {
                    try monitor.source.countInstructionPointers(isWanted)
                } catch {
                    // Also where it was never begun: what is gone out of needs no words.
                    if isWanted { apply(.problem(error.description)) }
                }
            }
        }
    }
}
