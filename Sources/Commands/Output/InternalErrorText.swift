import Debugger
import KVMCore
import X86

extension InternalError {
    /// The suberror in words. Source: KVM_INTERNAL_ERROR_* in linux/kvm.h.
    var meaning: String {
        switch suberror {
        case 1: "an instruction could not be emulated"
        case 2: "an exception arose while another was delivered"
        case 3: "an exit came while an event was delivered"
        case 4: "the hardware gave an exit reason that KVM does not know"
        default: "an unknown suberror"
        }
    }
}

extension InternalErrorCause {
    /// Sentences: what happened, whose doing it is, and where it would run.
    func text(inRealMode isReal: Bool) -> String {
        switch kind {
        case .notEmulated:
            "This host's KVM emulates the code at hand, and its emulator lacks \(instruction) in this mode. Hosts whose "
                + "KVM runs such code on the processor (SVM, VMX with unrestricted guest) execute it."
        case .deviceAccess(let gpa):
            "\(instruction.capitalizedFirst) accesses \(Hex(gpa)), where no memory is. KVM emulates accesses to devices on "
                + "every host, and its emulator lacks this instruction: a plain MOV does it."
        case .noInstruction:
            "\(instruction.capitalizedFirst) is no instruction of this mode: a processor would raise #UD."
        case .zeros: "The code at \(at) is zeros: the guest ran into memory that nothing was loaded to."
        case .noMemory(let linear, let gpa):
            gpa.map { "There is no memory at physical \(Hex($0)), where the next instruction should be." }
                ?? "No page maps \(Hex(linear)), where the next instruction should be."
        case .simultaneous(let first, let second):
            "\(name(second, isReal)) came while \(name(first, isReal)) was delivered."
        case .delivery(let vector, let reason):
            "The host's KVM could not go on from its exit reason \(reason) while \(name(vector, isReal)) was delivered: "
                + "often the interrupt table, the TSS or the stack lies where no memory is."
        case .exitReason(let reason):
            "The hardware's exit reason \(Hex(reason)) is new to this kernel: that is the host's fault, not the guest's."
        case .unknown: ""
        }
    }

    private func name(_ vector: UInt8, _ isReal: Bool) -> String {
        ExceptionName.full(vector, inRealMode: isReal)
    }

    /// `iretd (bytes cf)`.
    private var instruction: String {
        guard let code else { return "the instruction" }
        return
            "`\(code.text.printable)` (bytes \(Hex.bytes(code.bytes)), \(isFromExit ? "from the exit" : "from memory"))"
    }

    private var at: String { code.map { "\(Hex($0.address))" } ?? "hand" }
}

extension String {
    fileprivate var capitalizedFirst: String { prefix(1).uppercased() + dropFirst() }
}
