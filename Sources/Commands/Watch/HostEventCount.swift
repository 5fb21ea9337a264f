import DebugTarget
import KVMCore
import Monitor

/// How often an event that a catchpoint is for came, as the host counts it with no stop.
public struct HostEventCount: Sendable, Hashable, Encodable {
    public var count: UInt64
    /// Since the host began to count, or `exits reset`.
    public var seconds: Double
    /// On average over that time.
    public var rate: Double
    /// The host tells only the pages of accesses: others of the same page are among them.
    public var isOfPages: Bool

    /// Nil for an event that the host does not tell.
    init?(_ event: CatchEvent, _ look: HostExits.Look, process: Int32) {
        let selection = Selection(process: process)
        switch event {
        case .exit(let reason):
            self.init(look, look.reasons(selection, .userspace) { $0.code == UInt64(reason.rawValue) })
        case .tripleFault:
            self.init(
                look,
                look.reasons(selection, .userspace) { $0.code == UInt64(ExitReason.shutdown.rawValue) })
        case .hlt:
            // In the kernel, else in the VMM: one HLT may be both.
            let inKernel = look.reasons(selection, .hardware) { $0.isWaiting(look.report.names) }
            self.init(
                look,
                inKernel > 0
                    ? inKernel
                    : look.reasons(selection, .userspace) { $0.code == UInt64(ExitReason.hlt.rawValue) })
        case .io(let ports, let direction):
            self.init(
                look,
                look.details(selection, .port) { code in
                    let isOut = code & CounterKey.write != 0
                    return (direction == nil || (direction == .out) == isOut)
                        && ports?.contains(UInt16(truncatingIfNeeded: code)) ?? true
                })
        case .mmio(let range):
            let pages = range.lowerBound >> 12...range.upperBound >> 12
            self.init(
                look, look.details(selection, .mmio) { pages.contains($0 & ~CounterKey.mmioWrite) },
                isOfPages: true)
        case .msr(let index):
            self.init(
                look,
                look.details(selection, .msr) { code in
                    code & CounterKey.write != 0
                        && index.map { $0 == UInt32(truncatingIfNeeded: code) } ?? true
                })
        case .interrupt, .exception, .modeSwitch, .control, .firmware: return nil
        }
    }

    private init(_ look: HostExits.Look, _ count: UInt64, isOfPages: Bool = false) {
        self.count = count
        self.isOfPages = isOfPages
        seconds = look.report.sample.seconds
        rate = seconds > 0 ? Double(count) / seconds : 0
    }

    var text: String {
        "on the host, with no stop: \(grouped(count)) in \(decimal(seconds)) s, \(perSecond(rate))/s"
            + (isOfPages ? ", of whole pages" : "")
    }
}

extension HostExits.Look {
    fileprivate func reasons(
        _ selection: Selection, _ level: ReasonKey.Level, _ isWanted: (ReasonKey) -> Bool
    ) -> UInt64 {
        report.reasons(selection).reduce(0) {
            $1.key.level == level && isWanted($1.key) ? $0 &+ $1.count : $0
        }
    }

    fileprivate func details(
        _ selection: Selection, _ kind: CounterKind, _ isWanted: (UInt64) -> Bool
    ) -> UInt64 {
        report.details(selection).reduce(0) { $1.kind == kind && isWanted($1.code) ? $0 &+ $1.count : $0 }
    }
}
