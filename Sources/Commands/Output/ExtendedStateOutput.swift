import X86

/// `info xsave`: XCR0 and the state components with what is in them.
public struct ExtendedStateOutput: CommandOutput, Hashable {
    public struct Component: Sendable, Hashable, Encodable {
        public var bit: Int
        public var name: String
        public var meaning: String
        /// In the XSAVE area; absent where nothing says so.
        public var offset: Hex?
        public var size: Hex?
        public var isInUse: Bool
    }

    public var vcpu: Int
    public var xcr0: Hex
    public var enabled: [String]
    public var xstateBV: Hex
    public var xcompBV: Hex
    public var components: [Component]
    /// YMM0 to YMM15 as one number each; empty without AVX.
    public var ymm: [String]
    /// Absent without protection keys.
    public var pkru: Hex?

    init(vcpu: Int, _ enabled: XCR0, _ state: ExtendedState) {
        self.vcpu = vcpu
        xcr0 = Hex(enabled.rawValue)
        self.enabled = enabled.setNames
        xstateBV = Hex(state.inUse.rawValue)
        xcompBV = Hex(state.compaction)
        components = state.components.map {
            Component(
                bit: $0.number, name: $0.name, meaning: $0.meaning,
                offset: $0.range.map { Hex($0.lowerBound) },
                size: $0.range.map { Hex($0.count) }, isInUse: $0.isInUse)
        }
        ymm = (0..<16).compactMap { state.ymm($0).map { "0x" + Hex.bytes($0.reversed()) } }
        pkru = state.pkru.map { Hex($0) }
    }

    public func lines(width: Int) -> [StyledLine] {
        var head = StyledLine("Extended state of vCPU \(vcpu)", .heading)
        head.append(": xcr0 \(xcr0) ")
        head.append(enabled.map { $0.uppercased() }.joined(separator: " "), .flagSet)
        head.append(", in use \(xstateBV)")
        var table = TextTable(["Bit", "Name", "Offset", "Size", "", "Meaning"], rightAligned: [0, 2, 3])
        for component in components {
            table.add([
                .init(String(component.bit)), .init(component.name),
                .init(component.offset?.description ?? "?", .address),
                .init(component.size?.description ?? "?"),
                .init(component.isInUse ? "in use" : "initial", component.isInUse ? .plain : .dim),
                .init(component.meaning, .dim),
            ])
        }
        var result = [head] + table.lines
        result += ymm.enumerated().map { StyledLine(" ymm\($0)".padded(7) + $1.dropFirst(2)) }
        if let pkru { result.append(StyledLine(" pkru  " + Hex.digits(pkru.value, width: 8))) }
        return result
    }
}
