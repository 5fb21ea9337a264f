import X86

/// Instructions that the emulator of some hosts' KVM lacks, done as a processor does them: pure functions over
/// registers, segments and memory. For code that KVM emulates; a host whose processor runs the guest never asks.
enum Assist {
    /// What was done: the instruction's name, for the list.
    struct Completion: Sendable, Hashable {
        var name: String
        /// The exception that the processor raises instead, for KVM to deliver.
        var fault: Fault?

        struct Fault: Sendable, Hashable {
            var vector: UInt8
            var code: UInt32?
        }
    }

    /// Does the instruction at RIP. Nil, and nothing changed, where it is none of the table's.
    static func perform(_ state: inout AssistState) -> Completion? {
        guard let instruction = AssistInstruction(state.code(), state), let row = row(instruction, state)
        else {
            return nil
        }
        var next = state
        do throws(AssistFailure) {
            guard !instruction.isLocked || row.mayLock else { throw .fault(.undefined) }
            next.general.rip = (next.general.rip &+ UInt64(instruction.length)) & next.ipMask
            try row.body(&next, instruction)
            // The processor clears it after each instruction but those that load it.
            if !row.loadsFlags { next.general.rflags.remove(.rf) }
            state = next
            return Completion(name: row.name)
        } catch {
            switch error {
            case .notMine: return nil
            case .fault(let fault):
                if let address = fault.address { state.special.cr2 = address }
                return Completion(name: row.name, fault: .init(vector: fault.vector, code: fault.code))
            }
        }
    }

    typealias Body = @Sendable (inout AssistState, AssistInstruction) throws(AssistFailure) -> Void

    private struct Row {
        var name: String
        var mayLock = false
        var loadsFlags = false
        var body: Body
    }

    /// The table.
    private static func row(_ instruction: AssistInstruction, _ state: AssistState) -> Row? {
        let isLong = state.mode == .long64
        switch instruction.opcode {
        case 0x27 where !isLong: return Row(name: "daa", body: decimalAdjust(afterSubtraction: false))
        case 0x2F where !isLong: return Row(name: "das", body: decimalAdjust(afterSubtraction: true))
        case 0x37 where !isLong: return Row(name: "aaa", body: asciiAdjust(afterSubtraction: false))
        case 0x3F where !isLong: return Row(name: "aas", body: asciiAdjust(afterSubtraction: true))
        case 0x9B: return Row(name: "fwait", body: wait)
        case 0xCA, 0xCB: return Row(name: "retf", body: farReturn)
        case 0xCC: return Row(name: "int3", body: interrupt(3, checksIOPL: false))
        case 0xCD:
            let vector = UInt8(truncatingIfNeeded: instruction.immediate)
            return Row(name: "int", body: interrupt(vector, checksIOPL: true))
        case 0xCE where !isLong:
            return Row(name: "into") { state, instruction throws(AssistFailure) in
                guard state.general.rflags.contains(.of) else { return }
                try interrupt(4, checksIOPL: false)(&state, instruction)
            }
        case 0xCF: return Row(name: "iret", loadsFlags: true, body: interruptReturn)
        case 0x0F02: return Row(name: "lar", body: loadAccessRights)
        case 0x0F03: return Row(name: "lsl", body: loadLimit)
        case 0x0F0D, 0x0F18...0x0F1F:
            // Prefetches, hints and ENDBR: nothing is accessed.
            return Row(name: "nop") { _, _ in }
        case 0x0FB8 where instruction.repeatPrefix == 0xF3: return Row(name: "popcnt", body: countOnes)
        case 0x0FC7
        where instruction.extensionNumber == 1 && !instruction.isRegister && instruction.rex & 8 != 0:
            return Row(name: "cmpxchg16b", mayLock: true, body: compareExchange16)
        case 0x0F01:
            switch instruction.modRM {
            case 0xCA: return Row(name: "clac", body: accessCheck(false))
            case 0xCB: return Row(name: "stac", body: accessCheck(true))
            case 0xD0: return Row(name: "xgetbv", body: extendedControl)
            default: return nil
            }
        default: return nil
        }
    }
}
