public import DebugTarget
public import KVMCore
public import X86

/// What one vCPU's registers say, also while it runs: it is kicked, read, and goes on.
extension Debugger {
    /// The vCPU as it is now, which while the guest runs is not ``stop``.
    public func liveSnapshot(vcpu id: Int? = nil) throws(DebuggerError) -> VCPUSnapshot {
        let id = try vcpu(id ?? selectedVCPU).id
        guard isRunning else { return try known(id) }
        var snapshot = try call(id, "reading registers") { vcpu in try VCPUSnapshot(reading: vcpu, id: id) }
        if snapshot.activity == .stopped {
            let isWithheld = (target as? any VCPUWithholding)?.withholding(vcpu: id) != nil
            snapshot.activity = isWithheld ? .paused : .running
        }
        live.registers[id] = snapshot
        return snapshot
    }

    public func debugRegisters(vcpu id: Int? = nil) throws(DebuggerError) -> DebugRegisters {
        let id = try vcpu(id ?? selectedVCPU).id
        if isRevisiting, let registers = past.kept[stop.number]?.debug[id] { return registers }
        let registers = try call(id, "reading the debug registers") { vcpu in try vcpu.debugRegisters() }
        past.keep(registers, vcpu: id, at: stop.number)
        return registers
    }

    public func fpu(vcpu id: Int? = nil) throws(DebuggerError) -> FPURegisters {
        try call(id, "reading the FPU") { vcpu in try vcpu.fpu() }
    }

    public func localAPIC(vcpu id: Int? = nil) throws(DebuggerError) -> LocalAPICState {
        try call(id, "reading the local APIC") { vcpu in try vcpu.localAPIC() }
    }

    public func events(vcpu id: Int? = nil) throws(DebuggerError) -> VCPUEvents {
        try call(id, "reading the events") { vcpu in try vcpu.events() }
    }

    public func mpState(vcpu id: Int? = nil) throws(DebuggerError) -> MPState {
        try call(id, "reading the MP state") { vcpu in try vcpu.mpState() }
    }

    public func msr(_ index: UInt32, vcpu id: Int? = nil) throws(DebuggerError) -> UInt64 {
        try call(id, "reading MSR \(hex(index))") { vcpu in try vcpu.msr(index) }
    }

    /// What is known without stopping anything: the current stop or, while the guest runs, the last
    /// ``liveSnapshot(vcpu:)``.
    func known(_ id: Int?) throws(DebuggerError) -> VCPUSnapshot {
        let id = id ?? selectedVCPU
        if isRunning, let seen = live.registers[id] { return seen }
        if let snapshot = stop[id] { return snapshot }
        throw DebuggerError(.noVCPU, "there is no vCPU \(try vcpu(id).id) in this stop")
    }

    func call<R: Sendable>(
        _ id: Int?, _ attempt: String, _ body: @Sendable (any VCPUAccess) throws -> R
    ) throws(DebuggerError) -> R {
        let id = try vcpu(id ?? selectedVCPU).id
        // What is not kept of an earlier stop is not known, and nothing of it is changed.
        try checkPresent(attempt)
        do {
            return try target.withVCPU(id, body)
        } catch {
            throw DebuggerError("\(attempt) of vCPU \(id)", error)
        }
    }
}
