import DebugTarget
import Disassembler
public import KVMCore
import Symbols
import X86

/// What is behind a KVM_EXIT_INTERNAL_ERROR, as far as its data, registers and memory tell.
public struct InternalErrorCause: Sendable {
    public enum Kind: Sendable, Hashable {
        /// The instruction is one, and accesses no device: KVM's emulator lacks it.
        case notEmulated
        /// It accesses a device, or a protected page, by an instruction that KVM's emulator lacks.
        case deviceAccess(gpa: UInt64)
        /// The bytes are no instruction of the mode.
        case noInstruction
        /// Zeros, and zeros after them: nothing was loaded here.
        case zeros
        /// The next instruction lies where no memory is.
        case noMemory(linear: UInt64, gpa: UInt64?)
        /// KVM_INTERNAL_ERROR_SIMUL_EX: a second event while the first was delivered.
        case simultaneous(first: UInt8, second: UInt8)
        /// KVM_INTERNAL_ERROR_DELIVERY_EV: the host's exit reason, while the event was delivered.
        case delivery(vector: UInt8, hardwareReason: UInt64)
        /// KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON.
        case exitReason(UInt64)
        case unknown
    }

    public var kind: Kind
    /// The instruction at hand; nil where none of its bytes is known.
    public var code: CodeLine?
    /// Its bytes came with the exit (KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES), and not from memory as it
    /// is now.
    public var isFromExit: Bool

    public init(kind: Kind, code: CodeLine?, isFromExit: Bool) {
        self.kind = kind
        self.code = code
        self.isFromExit = isFromExit
    }
}

extension Debugger {
    /// Why the host's KVM gave up on a vCPU that stands where it did.
    public func cause(of error: InternalError, vcpu id: Int) -> InternalErrorCause? {
        guard let snapshot = stop[id] else { return nil }
        return InternalErrorCause(
            error, FaultScene(registers: snapshot.registers, view: view(of: snapshot))
        ) { symbols.place(at: $0) }
    }
}

extension InternalErrorCause {
    /// - Parameter place: the name of a linear address.
    init(_ error: InternalError, _ scene: FaultScene, place: (UInt64) -> SymbolPlace?) {
        var scene = scene
        let inMemory = Array(
            scene.view.read(scene.pc, count: Instruction.maximumLength, .linear(scene.pc)).leading)
        let given = error.instruction
        isFromExit = !given.isEmpty
        // What the kernel gives may end within the instruction.
        let bytes = inMemory.count > given.count && inMemory.starts(with: given) ? inMemory : given
        scene.bytes = bytes.isEmpty ? nil : bytes
        let instruction = bytes.isEmpty ? nil : scene.instruction
        code = instruction.map {
            CodeLine(
                address: scene.pc, selector: scene.special.cs.selector, ip: scene.registers.rip,
                instruction: $0)
        }
        code?.place = place(scene.pc)
        func word(_ index: Int) -> UInt64 { error.data.indices.contains(index) ? error.data[index] : 0 }
        switch error.suberror {
        case 1: kind = Self.emulation(scene, instruction, bytes)
        case 2:
            // VMX's IDT-vectoring and interruption information: the vector is in the low byte.
            kind = .simultaneous(
                first: UInt8(truncatingIfNeeded: word(0)), second: UInt8(truncatingIfNeeded: word(1)))
        case 3:
            kind = .delivery(vector: UInt8(truncatingIfNeeded: word(0)), hardwareReason: word(1))
        case 4: kind = .exitReason(word(0))
        default: kind = .unknown
        }
    }

    private static func emulation(
        _ scene: FaultScene, _ instruction: Instruction?, _ bytes: [UInt8]
    ) -> Kind {
        guard let instruction, !bytes.isEmpty else {
            return .noMemory(linear: scene.pc, gpa: scene.view.physical(scene.pc))
        }
        if bytes.count >= 8, bytes.allSatisfy({ $0 == 0 }) { return .zeros }
        guard instruction.validity == .valid else { return .noInstruction }
        for operand in instruction.memory where !operand.isAddressOnly {
            guard let linear = operand.linear(in: scene.file), let gpa = scene.view.physical(linear) else {
                continue
            }
            if scene.view.memory.word(gpa, size: 1) == nil { return .deviceAccess(gpa: gpa) }
        }
        if ["ud0", "ud1", "ud2"].contains(instruction.mnemonic) { return .noInstruction }
        return .notEmulated
    }
}
