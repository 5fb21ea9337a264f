import DebugTarget
public import X86

/// The last stops: the registers of each, and of memory and debug registers what was looked at then.
///
/// While an earlier stop is revisited, ``Debugger/stop`` is that one, everything that reads goes by it, and edits
/// are refused. Letting the guest go ends it: the guest goes on from where it is.
extension Debugger {
    /// True while ``stop`` is an earlier one.
    public var isRevisiting: Bool { past.present != nil }
    /// The stop where the guest stands, whichever is looked at.
    public var latestStop: Stop { past.present ?? stop }

    /// Makes the stop `number` the one that is looked at.
    /// - Throws: `.running`; `.outOfRange` where it is not kept.
    public func revisit(_ number: Int) throws(DebuggerError) {
        guard !isRunning else {
            throw DebuggerError(
                .running, "the guest runs, and only one that is stopped has a past",
                remedy: "stop it first")
        }
        let latest = latestStop
        guard number != latest.number else { return returnToPresent() }
        guard let found = past.last(where: { $0.number == number }) else {
            throw DebuggerError(
                .outOfRange, "stop \(number) is not kept",
                remedy: "those kept are \(firstStop) to \(latest.number)")
        }
        past.present = latest
        stop = found
        if stop[selectedVCPU] == nil { selectedVCPU = stop.vcpu }
    }

    /// Looks at the guest as it is again.
    public func returnToPresent() {
        guard let latest = past.present else { return }
        stop = latest
        past.present = nil
    }

    /// The number of the first stop that is kept.
    private var firstStop: Int { past.first?.number ?? latestStop.number }

    /// Runs `body`, and keeps what it reads of memory and of the debug registers as part of the current stop. Does
    /// no more than `body` while the guest runs or an earlier stop is looked at.
    public func keeping<R>(_ body: () throws -> R) rethrows -> R {
        guard !isRunning, !isRevisiting, past.remembering == nil else { return try body() }
        let memory = RememberingMemory(self.memory)
        past.remembering = memory
        defer {
            past.remembering = nil
            keep(memory)
        }
        return try body()
    }

    private func keep(_ memory: RememberingMemory) {
        past.keep(memory, at: stop.number, firstStop: firstStop)
    }

    /// Memory as it was at the stop that change marks compare with: while the guest runs the last one, otherwise
    /// the one before. Nil where nothing of it is kept; gaps where a part is not.
    public func earlierMemory(_ address: Address, count: Int) -> MemoryImage? {
        guard let earlier = previousStop, let memory = past.kept[earlier.number]?.memory,
            let vcpu = earlier[selectedVCPU], (0...Self.maximumTransfer).contains(count)
        else { return nil }
        let view = LinearMemory(memory: memory, special: vcpu.special)
        if case .physical(let gpa) = address { return view.readPhysical(gpa, count: count, address) }
        guard let linear = try? linear(address) else { return nil }
        return view.read(linear, count: count, address)
    }

    /// The selected vCPU's debug registers at the stop before, where they were looked at then.
    public func earlierDebugRegisters() -> DebugRegisters? {
        previousStop.flatMap { past.kept[$0.number]?.debug[selectedVCPU] }
    }

    /// What ``view(of:)`` reads: the present's memory, or what is kept of the stop that is looked at.
    var memoryInSight: any PhysicalMemory {
        if isRevisiting {
            return past.kept[stop.number]?.memory ?? KeptMemory(regions: target.memory.regions)
        }
        return past.remembering ?? patching.inSight
    }

    /// - Throws: `.refused` where an earlier stop is looked at.
    func checkPresent(_ attempt: String) throws(DebuggerError) {
        guard !isRevisiting else {
            throw DebuggerError(
                .refused, "\(attempt): stop \(stop.number) is past, and the past is not changed",
                advice: .returnToPresent(stop: latestStop.number))
        }
    }
}
