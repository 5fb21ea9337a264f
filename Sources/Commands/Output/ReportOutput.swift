/// What a guest did from its start to its end: the vCPUs, what it wrote, and its exits.
public struct ReportOutput: CommandOutput, Hashable {
    public var guest: String
    public var stop: StopOutput
    public var vcpus: [VCPUOutput]
    public var consoles: [ConsolesOutput.Console]
    public var exits: ExitsOutput

    public func lines(width: Int) -> [StyledLine] {
        func section(_ title: String, _ lines: [StyledLine]) -> [StyledLine] {
            [StyledLine(), StyledLine(title, .heading)] + lines
        }
        var result = [StyledLine("Guest: \(guest)", .heading)] + stop.lines(width: width)
        result += section("vCPUs", VCPUListOutput(selected: stop.vcpu, vcpus: vcpus).lines(width: width))
        result += section("Consoles", ConsolesOutput(consoles: consoles).lines(width: width))
        result += section("Exits", exits.lines(width: width))
        return result
    }
}
