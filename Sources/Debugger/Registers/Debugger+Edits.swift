import DebugTarget
public import Expressions
import KVMCore
public import X86

/// Edits of one vCPU, also while the guest runs: it is kicked, edited, and goes on. An edit that the processor
/// or KVM would not take changes nothing and says why.
extension Debugger {
    /// Sets a register, a part or a field of one, by any name of X86's catalogue.
    ///
    /// A selector is loaded as the processor loads it: in protected mode with the descriptor from the GDT or
    /// LDT. CR0.PG takes EFER.LMA with it where EFER.LME is set, as MOV to CR0 does.
    /// - Parameter raw: sets the bits named and nothing else: `cs` is the cached selector alone.
    /// - Throws: `.unknownName`, `.outOfRange` for a value that does not fit, `.refused`, `.unreadable` for a
    ///   descriptor that cannot be read.
    public func setRegister(
        _ name: String, to value: UInt64, raw: Bool = false, vcpu id: Int? = nil
    ) throws(DebuggerError) {
        let register = try Self.register(named: name)
        let memory = memory
        try edit(id, "setting \(register)") { file throws(DebuggerError) in
            try Self.set(register, to: value, raw: raw, &file, memory)
        }
    }

    /// The value of a register by name, from what is known of the vCPU; the debug registers are read.
    public func registerValue(_ name: String, vcpu id: Int? = nil) throws(DebuggerError) -> Value {
        let register = try Self.register(named: name)
        let snapshot = try known(id)
        var file = RegisterFile(general: snapshot.registers, special: snapshot.special)
        if register.group == .debug { file.debug = try debugRegisters(vcpu: id) }
        return Value(bits: file[register], width: Value.width(holding: register.width), isSigned: false)
    }

    public func setMSR(_ index: UInt32, _ value: UInt64, vcpu id: Int? = nil) throws(DebuggerError) {
        let vcpu = try vcpu(id ?? selectedVCPU)
        let (driver, activity, isRunning) = (vcpu.driver, vcpu.snapshot.activity, isRunning)
        let snapshot = try call(vcpu.id, "setting MSR \(hex(index))") { vcpu in
            try vcpu.setMSR(index, value)
            return try driver.edited(vcpu, activity: activity, running: isRunning)
        }
        refresh(snapshot)
    }

    public func setFPU(_ registers: FPURegisters, vcpu id: Int? = nil) throws(DebuggerError) {
        let id = try vcpu(id ?? selectedVCPU).id
        _ = try call(id, "setting the FPU") { vcpu in try vcpu.setFPU(registers) }
        refresh(try known(id))
    }

    static func register(named name: String) throws(DebuggerError) -> RegisterName {
        do {
            return try RegisterName(parsing: name)
        } catch {
            let near =
                error.suggestions.isEmpty ? nil : "did you mean \(error.suggestions.joined(separator: ", "))?"
            throw DebuggerError(.unknownName, "there is no register '\(error.name.shortened)'", remedy: near)
        }
    }

    private static func set(
        _ register: RegisterName, to value: UInt64, raw: Bool, _ file: inout RegisterFile,
        _ memory: any PhysicalMemory
    ) throws(DebuggerError) {
        var register = register
        if raw, let segment = register.loadedSegment,
            let cached = RegisterName("\(segment.rawValue).selector")
        {
            register = cached
        }
        do {
            try file.set(register, to: value)
        } catch .needsDescriptor(let segment, let selector) {
            return try load(segment, selector, &file, memory)
        } catch {
            throw DebuggerError(.outOfRange, error.description)
        }
        guard !raw else { return }
        if register.name == "cr0" || register.name.hasPrefix("cr0."), file.special.efer.contains(.lme) {
            if file.special.cr0.contains(.pg) {
                file.special.efer.insert(.lma)
            } else {
                file.special.efer.remove(.lma)
            }
        }
    }

    private static func load(
        _ segment: SegmentName, _ selector: UInt16, _ file: inout RegisterFile, _ memory: any PhysicalMemory
    ) throws(DebuggerError) {
        let view = LinearMemory(memory: memory, special: file.special)
        let size = file.descriptorSize(for: segment)
        do {
            let place = try file.descriptorAddress(of: selector, size: size)
            guard let low = view.word(place, size: 8),
                let high = size == 8 ? 0 : view.word(view.cut(place &+ 8), size: 8)
            else {
                throw DebuggerError(
                    .unreadable,
                    "\(segment) = \(hex(selector)): its descriptor at \(hex(place)) cannot be read",
                    remedy: "to edit the cached selector alone, set \(segment).selector")
            }
            try file.load(segment, selector: selector, low: low, high: high)
        } catch let error as SegmentLoadError {
            throw DebuggerError(
                .refused, error.description,
                remedy: "nothing was changed; to edit the cached selector alone, set \(segment).selector")
        } catch {
            throw DebuggerError("loading \(segment)", error)
        }
    }

    /// Changes one vCPU's registers, checks the whole before KVM sees it, and reads it back.
    private func edit(
        _ id: Int?, _ attempt: String,
        _ change: @escaping @Sendable (inout RegisterFile) throws(DebuggerError) -> Void
    ) throws(DebuggerError) {
        let vcpu = try vcpu(id ?? selectedVCPU)
        let (driver, activity, isRunning) = (vcpu.driver, vcpu.snapshot.activity, isRunning)
        let snapshot = try call(vcpu.id, attempt) { vcpu in
            try driver.showTrapFlag(vcpu)
            // The debug registers first: a target that shows older registers of a running guest without stopping it
            // has to stop it for these, and what is read then is of the moment.
            let debug = try vcpu.debugRegisters()
            let old = RegisterFile(
                general: try vcpu.registers(), special: try vcpu.specialRegisters(), debug: debug)
            var new = old
            try change(&new)
            let problems = new.newProblems(since: old)
            if !problems.isEmpty {
                throw DebuggerError(
                    .refused, "\(attempt): " + problems.map { "\($0)" }.joined(separator: "; "),
                    remedy: "nothing was changed")
            }
            try vcpu.replace(old, by: new, attempt)
            return try driver.edited(vcpu, activity: activity, running: isRunning)
        }
        refresh(snapshot)
    }

    /// Puts an edited vCPU into what is known.
    func refresh(_ snapshot: VCPUSnapshot) {
        if isRunning {
            var snapshot = snapshot
            snapshot.activity = .running
            live.registers[snapshot.id] = snapshot
            return
        }
        vcpus.first { $0.id == snapshot.id }?.edited(snapshot)
        if let place = stop.vcpus.firstIndex(where: { $0.id == snapshot.id }) { stop.vcpus[place] = snapshot }
        stop.edits += 1
    }
}

extension VCPUAccess {
    /// Sets what differs, and takes all of it back where KVM refuses a part or keeps something else.
    func replace(_ old: RegisterFile, by new: RegisterFile, _ attempt: String) throws {
        do {
            try set(new, whereNot: old)
            let kept = try RegisterFile(
                general: registers(), special: specialRegisters(), debug: debugRegisters())
            if let difference = Self.difference(kept, new) {
                throw DebuggerError(
                    .refused, "\(attempt): KVM took it and kept \(difference) instead",
                    remedy: "nothing was changed")
            }
        } catch {
            // What was set so far is taken back; KVM had all of it before, so it is not refused.
            try? set(old, whereNot: nil)
            if let error = error as? KVMError {
                throw DebuggerError(
                    .refused, "\(attempt): KVM refused it (\(error.operation): \(error.errno))",
                    remedy: error.advice ?? "nothing was changed")
            }
            throw error
        }
    }

    private func set(_ new: RegisterFile, whereNot old: RegisterFile?) throws(KVMError) {
        if new.special != old?.special { try setSpecialRegisters(new.special) }
        if new.general != old?.general { try setRegisters(new.general) }
        if new.debug != old?.debug { try setDebugRegisters(new.debug) }
    }

    /// What KVM kept otherwise than asked, as `cr0 0x11`.
    private static func difference(_ kept: RegisterFile, _ wanted: RegisterFile) -> String? {
        guard kept != wanted else { return nil }
        return RegisterName.all.first { kept[$0] != wanted[$0] }.map { "\($0) \(hex(kept[$0]))" }
    }
}
