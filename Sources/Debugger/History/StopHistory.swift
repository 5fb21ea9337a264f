import X86

/// The stops before the current one, and what was looked at there.
struct StopHistory {
    /// What is kept of a stop beside its ``Stop``.
    struct Kept {
        var memory: KeptMemory
        var debug: [Int: DebugRegisters] = [:]
    }

    private var stops = PastStops(capacity: Debugger.historyLimit - 1)
    /// The stop where the guest is, while an earlier one is looked at.
    var present: Stop?
    /// By the stops' numbers.
    var kept: [Int: Kept] = [:]
    /// Set while what is read is kept.
    var remembering: RememberingMemory?

    var first: Stop? { stops.first }
    var last: Stop? { stops.last }
    var all: [Stop] { stops.all }

    func last(where predicate: (Stop) -> Bool) -> Stop? { stops.last(where: predicate) }

    /// Makes `next` the current stop, and the one before it the last of these.
    mutating func follow(_ current: inout Stop, with next: Stop) {
        stops.append(current)
        current = next
    }

    /// Keeps what was read at the stop `number`.
    mutating func keep(_ memory: RememberingMemory, at number: Int, firstStop: Int) {
        let before = kept[number - 1]?.memory
        kept[number, default: Kept(memory: KeptMemory(regions: memory.regions))].memory
            .take(memory.pages, since: before)
        if kept.count > Debugger.historyLimit { kept = kept.filter { $0.key >= firstStop } }
    }

    /// Keeps a vCPU's debug registers, where what is read at the stop `number` is kept.
    mutating func keep(_ registers: DebugRegisters, vcpu: Int, at number: Int) {
        guard let remembering else { return }
        kept[number, default: Kept(memory: KeptMemory(regions: remembering.regions))].debug[vcpu] = registers
    }
}
