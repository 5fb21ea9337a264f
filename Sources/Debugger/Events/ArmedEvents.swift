import DebugTarget
import KVMCore

/// The enabled catchpoints as drivers have them. Made new when they change, and never changed.
final class ArmedEvents: Sendable {
    struct Entry: Sendable {
        let event: CatchEvent
        let counter: BreakpointState
        let mechanism: Breakpoint.Mechanism
    }

    let entries: [Entry]
    /// `xchg bx, bx` stops the guest.
    let isMagic: Bool
    /// Something is found by looking at each instruction.
    let watchesSteps: Bool
    /// Some exit that the target handles may be caught.
    let watchesExits: Bool
    let trappedMSRs: TrappedMSRs
    /// The vectors whose handlers get debug registers, the likeliest first; none where no interrupt is caught.
    let vectors: [UInt8]

    static let none = ArmedEvents([], isMagic: false)

    init(_ entries: [Entry], isMagic: Bool) {
        self.entries = entries
        self.isMagic = isMagic
        watchesSteps = isMagic || entries.contains { $0.mechanism == .stepping }
        watchesExits = entries.contains { $0.mechanism == .exit }
        trappedMSRs = Self.trapped(entries)
        vectors = Self.vectors(entries)
    }

    private static func trapped(_ entries: [Entry]) -> TrappedMSRs {
        var indexes: Set<UInt32> = []
        for entry in entries where entry.mechanism == .msrFilter {
            guard case .msr(let index?) = entry.event else { return .all }
            indexes.insert(index)
        }
        if indexes.isEmpty { return .none }
        return indexes.count > TrappedMSRs.most ? .all : .these(indexes)
    }

    /// Exceptions that boot code runs into, the likeliest first.
    private static let exceptions: [UInt8] = [
        13, 14, 6, 0, 8, 12, 11, 10, 7, 5, 4, 3, 1, 16, 17, 19, 2, 18, 20, 21,
    ]

    private static func vectors(_ entries: [Entry]) -> [UInt8] {
        var found: [UInt8] = []
        for entry in entries {
            switch entry.event {
            case .interrupt(let vector), .exception(let vector?): found.append(vector)
            case .exception(nil): found += exceptions
            default: break
            }
        }
        return found
    }

    /// The catchpoints that an exit is an event of.
    func matching(_ exit: VCPUExit) -> [(BreakpointState, CaughtEvent.What)] {
        entries.compactMap { entry in
            guard entry.mechanism == .exit else { return nil }
            switch (entry.event, exit) {
            case (.io(let ports, let direction), .io(let io)) where CatchEvent.matches(io, ports, direction):
                return (entry.counter, .io(io))
            case (.mmio(let range), .mmio(let access)):
                let last = access.gpa &+ UInt64(max(access.data.count, 1) - 1)
                guard access.gpa <= range.upperBound, last >= range.lowerBound else { return nil }
                return (entry.counter, .mmio(access))
            case (.exit(let reason), _) where reason == exit.reason:
                return (entry.counter, .exit(exit))
            case (.hlt, .hlt): return (entry.counter, .hlt)
            case (.tripleFault, .shutdown): return (entry.counter, .tripleFault)
            default: return nil
            }
        }
    }
}
