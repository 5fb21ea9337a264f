public import Commands

extension OutputLine {
    /// A command's line, its styles as the screen has them.
    public init(_ line: StyledLine) {
        self.init(line.spans.map { Span($0.text, Look(style: $0.style)) })
    }
}

extension Look {
    init(style: Style) {
        self =
            switch style {
            case .plain, .value: .plain
            case .heading: Look(.plain, .bold)
            case .dim: .dim
            case .address: .address
            case .mnemonic: Look(.mnemonic)
            case .symbol: Look(.symbol)
            case .changed: .changed
            case .flagSet: Look(.plain, .bold)
            case .pc: Look(.pc, .bold)
            case .warning: .warning
            case .error: .error
            }
    }
}
