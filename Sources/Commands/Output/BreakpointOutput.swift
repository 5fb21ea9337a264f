import DebugTarget
import Debugger
import X86

/// One breakpoint or watchpoint as `info breakpoints` shows it.
public struct BreakpointRow: Sendable, Hashable, Encodable {
    public var number: Int
    /// "linear", "physical", "virtual", "watch" or "catch".
    public var kind: String
    public var isEnabled: Bool
    public var isTemporary: Bool
    /// As it was given; absent for a catchpoint.
    public var address: String?
    /// A catchpoint's, as `catch` takes it.
    public var event: String?
    /// Absent for a physical one.
    public var linear: Hex?
    /// A watchpoint's bytes.
    public var length: Int?
    /// A watchpoint's accesses: "w", "r" or "rw".
    public var access: String?
    /// How it is done: "debug register", "int3", "port-out patch", "page protection", "exit",
    /// "MSR filter" or "stepping".
    public var mechanism: String
    /// What the mechanism costs, does not hide, or does not see.
    public var note: String?
    /// Code that may be there is not stopped on this host; absent where none is known.
    public var isBlind: Bool?
    /// The guest was about to read the code that its patch stands in when it was set; absent where that was not seen.
    public var isAboutToBeRead: Bool?
    public var condition: String?
    /// Who set it, where that was not this session's user, as "gdb"; absent otherwise.
    public var origin: String?
    public var ignore: Int
    public var commands: [String]
    public var hits: Int
    /// How often the guest overwrote its patch, which was then planted again; absent if it never did.
    public var overwritten: Int?
    /// Of a guest that another program runs: how often a catchpoint's event came, stopped at or not; absent where the host
    /// does not tell.
    public var onHost: HostEventCount?

    init(_ breakpoint: Breakpoint, onHost: HostEventCount? = nil) {
        self.onHost = onHost
        number = breakpoint.number
        kind = breakpoint.kind.rawValue
        isEnabled = breakpoint.isEnabled
        isTemporary = breakpoint.isTemporary
        event = breakpoint.event?.text
        address = event == nil ? breakpoint.address.description : nil
        linear = breakpoint.linear.map { Hex($0) }
        length = breakpoint.access == nil ? nil : breakpoint.length
        access = breakpoint.access?.rawValue
        mechanism = breakpoint.mechanism.name
        note = Self.note(breakpoint)
        isBlind = breakpoint.blind.isEmpty ? nil : true
        isAboutToBeRead = breakpoint.isAboutToBeRead ? true : nil
        condition = breakpoint.condition
        origin = breakpoint.origin
        ignore = breakpoint.ignore
        commands = breakpoint.commands
        hits = breakpoint.hits
        overwritten = breakpoint.overwritings > 0 ? breakpoint.overwritings : nil
    }

    private static func note(_ breakpoint: Breakpoint) -> String? {
        let notes = [
            blindNote(breakpoint), readNote(breakpoint), withheldNote(breakpoint), mechanismNote(breakpoint),
        ].compactMap { $0 }
        return notes.isEmpty ? nil : notes.joined(separator: "; ")
    }

    private static func blindNote(_ breakpoint: Breakpoint) -> String? {
        guard !breakpoint.blind.isEmpty else { return nil }
        let places = breakpoint.blind.map(\.name).joined(separator: " and ")
        return "does not stop \(places) on this host"
    }

    private static func readNote(_ breakpoint: Breakpoint) -> String? {
        guard breakpoint.isAboutToBeRead else { return nil }
        return
            "the guest is about to read this code, and reads the patch with it: a copy is undone where it runs, a "
            + "checksum is wrong; delete a breakpoint that has a debug register, or set this one after the read"
    }

    private static func withheldNote(_ breakpoint: Breakpoint) -> String? {
        guard breakpoint.isPatchWithheld else { return nil }
        return "no patch, as the guest's memory map is a guess (`info sources`)"
    }

    private static func mechanismNote(_ breakpoint: Breakpoint) -> String? {
        switch breakpoint.mechanism {
        case .debugRegister, .pageProtection, .exit, .msrFilter: nil
        case .stepping:
            breakpoint.missesHandlers
                ? "every instruction is stepped: slow; on this host the handlers of some interrupts run unseen"
                : "every instruction is stepped: slow"
        case .int3, .portOut:
            switch (breakpoint.isUnprotected, breakpoint.isWatched) {
            case (true, true):
                "the guest can read the patch; if it overwrites it, that is mended some 10 ms later"
            case (true, false):
                "the guest can read the patch; if it overwrites it, that is seen at the next stop"
            case (false, _): "the guest can read the patch"
            }
        }
    }

    private var place: String {
        let address = event ?? address ?? ""
        guard let length, length != 1 else { return address }
        return "\(address) +\(length)"
    }

    fileprivate var type: String {
        let kept = isTemporary ? "once" : "keep"
        if let access { return "watch \(access)" }
        if event != nil { return isTemporary ? "once catch" : "catch" }
        return kind == "linear" ? kept : "\(kept) \(kind)"
    }

    fileprivate func add(to table: inout TextTable) {
        table.add([
            .init(String(number)), .init(type), .init(isEnabled ? "y" : "n"), .init(place, .address),
            .init(linear.map { Hex.padded($0.value, width: 8) } ?? "", .address), .init(mechanism, .dim),
            .init(grouped(hits)),
        ])
    }

    /// What stands below the row.
    fileprivate var details: [StyledLine] {
        var lines: [StyledLine] = []
        if let origin { lines.append(StyledLine("        set by \(origin)", .dim)) }
        if let condition { lines.append(StyledLine("        only if \(condition)")) }
        if ignore > 0 { lines.append(StyledLine("        passes over the next \(counted(ignore, "hit"))")) }
        if let overwritten {
            lines.append(
                StyledLine(
                    "        the guest overwrote it \(counted(overwritten, "time")); `hbreak` is not to be overwritten",
                    .warning))
        }
        if let onHost { lines.append(StyledLine("        \(onHost.text)")) }
        if let note { lines.append(StyledLine("        \(note)", .dim)) }
        return lines + commands.map { StyledLine("        \($0)") }
    }
}

/// `info breakpoints`.
public struct BreakpointList: CommandOutput, Hashable {
    public var breakpoints: [BreakpointRow]

    public func lines(width: Int) -> [StyledLine] {
        guard !breakpoints.isEmpty else { return [StyledLine("No breakpoints.")] }
        var table = TextTable(
            ["Num", "Type", "Enb", "Address", "Linear", "By", "Hits"], rightAligned: [0, 6])
        for row in breakpoints { row.add(to: &table) }
        let rows = table.lines(width: width, dropping: [4, 5, 6])
        let behind = rows.dropFirst(breakpoints.count + 1)
        return [rows[0]] + zip(rows.dropFirst(), breakpoints).flatMap { [$0] + $1.details } + behind
    }
}

/// `break` and its like, and `watch`.
public struct BreakpointSet: CommandOutput, Hashable {
    public var breakpoint: BreakpointRow

    public func lines(width: Int) -> [StyledLine] {
        if let event = breakpoint.event { return catchLines(event) }
        let kind = breakpoint.access == nil ? "breakpoint" : "watchpoint"
        var line = StyledLine(
            breakpoint.isTemporary
                ? "Temporary \(kind) " : kind == "breakpoint" ? "Breakpoint " : "Watchpoint ")
        line.append("\(breakpoint.number) at ")
        line.append(breakpoint.address ?? "", .address)
        if let linear = breakpoint.linear?.description, linear != breakpoint.address {
            line.append(", linear ")
            line.append(linear, .address)
        }
        if let length = breakpoint.length { line.append(", \(counted(length, "byte"))") }
        if let condition = breakpoint.condition { line.append(" if \(condition)") }
        line.append(" (\(breakpoint.mechanism))", .dim)
        return noted(line)
    }

    private func catchLines(_ event: String) -> [StyledLine] {
        var line = StyledLine(breakpoint.isTemporary ? "Temporary catchpoint " : "Catchpoint ")
        line.append("\(breakpoint.number) (\(event))")
        if let condition = breakpoint.condition { line.append(" if \(condition)") }
        line.append(" (by \(breakpoint.mechanism))", .dim)
        return noted(line)
            + (breakpoint.onHost.map { $0.count > 0 ? [StyledLine("  \($0.text)", .dim)] : [] } ?? [])
    }

    private func noted(_ line: StyledLine) -> [StyledLine] {
        let isNews =
            breakpoint.mechanism == "stepping" || breakpoint.isBlind == true
            || breakpoint.isAboutToBeRead == true
        guard isNews, let note = breakpoint.note else {
            return [line]
        }
        return [line, StyledLine("  \(note).", .warning)]
    }
}
