import Debugger

/// One breakpoint as `info breakpoints` shows it.
public struct BreakpointRow: Sendable, Hashable, Encodable {
    public var number: Int
    public var isEnabled: Bool
    public var isTemporary: Bool
    /// As it was given.
    public var address: String
    public var linear: Hex
    /// How it is done: "debug register".
    public var mechanism: String
    public var hits: Int

    init(_ breakpoint: Breakpoint) {
        number = breakpoint.number
        isEnabled = breakpoint.isEnabled
        isTemporary = breakpoint.isTemporary
        address = breakpoint.address.description
        linear = Hex(breakpoint.linear)
        mechanism = breakpoint.mechanism.name
        hits = breakpoint.hits
    }
}

/// `info breakpoints`.
public struct BreakpointList: CommandOutput, Hashable {
    public var breakpoints: [BreakpointRow]

    public func lines(width: Int) -> [StyledLine] {
        guard !breakpoints.isEmpty else { return [StyledLine("No breakpoints.")] }
        var table = TextTable(
            ["Num", "Type", "Enb", "Address", "Linear", "By", "Hits"], rightAligned: [0, 6])
        for row in breakpoints {
            table.add([
                .init(String(row.number)), .init(row.isTemporary ? "once" : "keep"),
                .init(row.isEnabled ? "y" : "n"), .init(row.address, .address),
                .init(Hex.padded(row.linear.value, width: 8), .address), .init(row.mechanism, .dim),
                .init(grouped(row.hits)),
            ])
        }
        return table.lines
    }
}

/// `break` and `tbreak`.
public struct BreakpointSet: CommandOutput, Hashable {
    public var breakpoint: BreakpointRow

    public func lines(width: Int) -> [StyledLine] {
        var line = StyledLine(breakpoint.isTemporary ? "Temporary breakpoint " : "Breakpoint ")
        line.append("\(breakpoint.number) at ")
        line.append(breakpoint.address, .address)
        let linear = breakpoint.linear.description
        if linear != breakpoint.address {
            line.append(", linear ")
            line.append(linear, .address)
        }
        line.append(" (\(breakpoint.mechanism))", .dim)
        return [line]
    }
}
