public import DebugTarget
import Disassembler
import KVMCore
import Symbols
public import X86

/// What was kept of one vCPU before the guest stopped, and why it died if it did.
public struct BlackBox: Sendable {
    /// Where the state at the fault comes from.
    public enum Origin: String, Sendable, Hashable {
        /// The vCPU's registers at KVM_EXIT_SHUTDOWN.
        case shutdown
        /// The last step: the host's KVM had reset the vCPU when it said that it shut down (SVM).
        case lastStep
        /// Nothing: it was reset, and nothing was stepped.
        case lost
    }

    /// A triple fault.
    public struct Fault: Sendable {
        public var origin: Origin
        public var registers: GeneralRegisters
        public var special: SpecialRegisters
        /// The instruction that began it; nil where it cannot be read.
        public var code: CodeLine?
        public var chain: FaultChain
        /// The exception that the kernel noted last before it gave up; nil where it has none.
        public var reported: Reported?

        public var mode: CPUMode { CPUMode(registers, special) }
    }

    /// As KVM_GET_VCPU_EVENTS has it.
    public struct Reported: Sendable, Hashable {
        public var vector: UInt8
        /// Nil where the exception has none.
        public var errorCode: UInt32?
    }

    /// An instruction that was stepped.
    public struct Step: Sendable {
        public var record: StepRecord
        public var code: CodeLine
    }

    public var vcpu: Int
    /// Nil where the vCPU has not died of a triple fault.
    public var fault: Fault?
    /// The oldest first.
    public var steps: [Step]
    /// How many were stepped in all.
    public var stepCount: UInt64
    /// The last exits, single steps not among them, the oldest first.
    public var exits: [ExitRecord]
}

extension Debugger {
    /// The black box of a vCPU. The guest is stopped.
    ///
    /// - Parameter limit: how many of the last steps and exits.
    public func blackBox(vcpu id: Int? = nil, limit: Int) throws(DebuggerError) -> BlackBox {
        guard !isRunning else {
            throw DebuggerError(.running, "the guest runs", remedy: "stop it first")
        }
        returnToPresent()
        let vcpu = try vcpu(id ?? selectedVCPU)
        let ring = vcpu.driver.blackBox
        var box = BlackBox(
            vcpu: vcpu.id, fault: nil, steps: ring.ordered.suffix(limit).map(step), stepCount: ring.total,
            exits: target.exits.recent(vcpu: vcpu.id, limit: limit))
        // The stop of another vCPU may have come first; the state tells.
        if vcpu.last.shutdown != nil, vcpu.snapshot.activity == .dead {
            box.fault = fault(vcpu.last, ring)
        }
        return box
    }

    private func step(_ record: StepRecord) -> BlackBox.Step {
        let scene = FaultScene(
            registers: record.registers, view: LinearMemory(memory: memory, special: record.special),
            bytes: bytes(of: record))
        return BlackBox.Step(record: record, code: line(scene))
    }

    /// An instruction as it was when it was stepped; memory knows the bytes that were not kept.
    private func bytes(of record: StepRecord) -> [UInt8] {
        let kept = record.bytes
        guard kept.count == 8 else { return kept }
        let view = LinearMemory(memory: memory, special: record.special)
        let now = Array(
            view.read(record.pc, count: Instruction.maximumLength, .linear(record.pc)).leading)
        return now.starts(with: kept) ? now : kept
    }

    private func line(_ scene: FaultScene) -> CodeLine {
        var line = CodeLine(
            address: scene.pc, selector: scene.special.cs.selector, ip: scene.registers.rip,
            instruction: scene.instruction)
        line.place = symbols.place(at: line.address)
        return line
    }

    private func fault(_ run: RunOutcome, _ ring: StepRing) -> BlackBox.Fault {
        let snapshot = run.snapshot
        var origin = BlackBox.Origin.shutdown
        var registers = snapshot.registers
        var special = snapshot.special
        var kept: [UInt8]?
        // The reset vector, with the segment of the reset: no guest comes to a triple fault there by itself.
        if registers.rip == 0xFFF0, special.cs.base == 0xFFFF_0000, special.cs.selector == 0xF000,
            !special.cr0.contains(.pe)
        {
            origin = .lost
            if run.shutdown?.wasStepping == true, let last = ring.last {
                origin = .lastStep
                (registers, special) = (last.registers, last.special)
                kept = bytes(of: last)
            }
        }
        var view = LinearMemory(memory: memory, special: special)
        view.features = pagingFeatures(vcpu: snapshot.id, isPaging: true)
        var scene = FaultScene(
            registers: registers, view: view,
            events: origin == .shutdown ? run.shutdown?.events : nil, bytes: kept)
        if origin == .shutdown { scene.facts = faultFacts(snapshot.id, special) }
        guard origin != .lost else {
            return BlackBox.Fault(
                origin: origin, registers: registers, special: special, code: nil,
                chain: FaultChain(links: [], end: .unknown))
        }
        return BlackBox.Fault(
            origin: origin, registers: registers, special: special, code: line(scene),
            chain: FaultChain(scene), reported: scene.events.flatMap(BlackBox.Reported.init))
    }

    /// What the vCPU that shut down holds beside its general and special registers.
    private func faultFacts(_ id: Int, _ special: SpecialRegisters) -> FaultFacts {
        let facts = try? target.withVCPU(id) { vcpu in
            var facts = FaultFacts()
            facts.debug = try? vcpu.debugRegisters()
            facts.fpu = try? vcpu.fpu()
            for index in FaultFacts.indexes { facts.msrs[index] = try? vcpu.msr(index) }
            if let system = vcpu as? any VCPUSystemAccess {
                facts.xcr0 = try? system.xcrs().first { $0.index == 0 }?.value
            }
            return facts
        }
        var found = facts ?? FaultFacts()
        if special.cr4.contains(.pke) { found.pkru = (try? extendedState(vcpu: id))?.1.pkru }
        return found
    }
}

extension BlackBox.Reported {
    init?(_ events: VCPUEvents) {
        // The number stays where the exception was given up; 0 is then none as well as #DE.
        guard events.exceptionInjected || events.exceptionPending || events.exceptionVector != 0 else {
            return nil
        }
        self.init(
            vector: events.exceptionVector,
            errorCode: events.exceptionHasErrorCode ? events.exceptionErrorCode : nil)
    }
}
