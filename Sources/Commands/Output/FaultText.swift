import Debugger
import X86

extension FaultCause {
    /// A clause: `the IDT's limit 0x0 ends before the vector's entry, which ends at 0x37`.
    var text: String {
        switch self {
        case .tableLimit, .tablePage, .gateType, .gateNotPresent, .gatePrivilege, .gateSelector,
            .handlerLimit,
            .handlerNonCanonical, .taskStateLimit, .noTaskState, .stackSelector, .stackLimit,
            .stackNonCanonical, .stackPage:
            deliveryText
        case .undefinedInstruction: "the instruction is undefined"
        case .instructionTooLong: "the instruction has more than 15 bytes"
        case .lockPrefix: "LOCK does not go with this instruction"
        case .wrongMode(let mode): mode.text
        case .disabled(let bit): bit.text
        case .pendingX87(let word): "an x87 exception waits: the status word is \(Hex(word))"
        case .vectorArithmetic(let mxcsr):
            "an SSE exception that MXCSR (\(Hex(mxcsr))) does not mask, as far as can be seen"
        case .softwareInterrupt: "the instruction asks for it"
        case .singleStep: "RFLAGS.TF is set: the trap comes after the instruction"
        case .debugRegister(let number): "the guest's DR\(number) is at this place"
        case .codeLimit(let offset, let limit):
            "the next instruction, at \(Hex(offset)), is beyond CS's limit \(Hex(limit))"
        case .codePage(let walk, let denial):
            "the instruction cannot be fetched: \(Hex(walk.linear)) is \(denial.text(walk))"
        case .targetLimit(let offset, let limit):
            "the branch's target, \(Hex(offset)), is beyond CS's limit \(Hex(limit))"
        case .targetNonCanonical(let address): "the address that it loads, \(Hex(address)), is not canonical"
        case .noEndBranch: "an indirect branch led here, and this is no ENDBR"
        case .privilege(let cpl): "the instruction needs CPL 0, and CPL is \(cpl)"
        case .virtualPrivilege(let iopl): "virtual-8086 mode needs IOPL 3 for it, and IOPL is \(iopl)"
        case .flagPrivilege(let cpl, let iopl):
            "the instruction needs CPL \(iopl) or less by IOPL, and CPL is \(cpl)"
        case .portPrivilege(let cpl, let iopl, let map):
            "CPL \(cpl) is above IOPL \(iopl), and \(map.text)"
        case .divideByZero: "the divisor is 0"
        case .divideOverflow: "the quotient does not fit"
        case .outOfBounds(let value, let lower, let upper): "\(value) is not within \(lower) to \(upper)"
        case .unusableSegment(let name): "\(name.rawValue) holds a null selector"
        case .readOnlySegment(let name): "\(name.rawValue) is not writable"
        case .unreadableSegment(let name): "\(name.rawValue) holds code that cannot be read"
        case .segmentLimit(let name, let offset, let limit):
            "\(name.rawValue):\(Hex(offset)) is beyond the segment's limit \(Hex(limit))"
        case .nonCanonical(let address): "\(Hex(address)) is not canonical"
        case .alignment(let address, let bytes): "\(Hex(address)) is not aligned to \(bytes) bytes"
        case .dataPage(let walk, let isWrite, let denial):
            "\(Hex(walk.linear)) cannot be \(isWrite ? "written" : "read"): it is \(denial.text(walk))"
        case .selector(let selector, let problem): "selector \(Self.selector(selector)) \(problem.text)"
        case .throughGate(let selector, let problem):
            "the selector \(Self.selector(selector)) of the call gate \(problem.text)"
        case .nestedTask: "RFLAGS.NT is set, and IA-32e mode has no tasks to return to"
        case .noSystemEntry: "IA32_SYSENTER_CS is null"
        case .msr(let index): "MSR \(Hex(index)) is not there, or does not take the value"
        case .control(let problem): problem.description
        case .extendedControl(let index, let value): "XCR\(index) does not take \(Hex(value))"
        case .invalidationType(let type): "INVPCID has no type \(type)"
        case .external: "it came from outside"
        }
    }

    /// Of a fault in the delivery of another.
    private var deliveryText: String {
        switch self {
        case .tableLimit(let end, let limit):
            "its entry in the interrupt table ends at \(Hex(end)), and the table's limit is \(Hex(limit))"
        case .tablePage(let table, let walk):
            "the \(table.rawValue.uppercased()) cannot be read there: \(Hex(walk.linear)) is \(Self.page(walk))"
        case .gateType(let type, let isCodeOrData):
            isCodeOrData
                ? "its entry in the IDT is a code or data segment (type \(type)), no gate"
                : "its entry in the IDT has type \(type), which is no gate of this mode"
        case .gateNotPresent: "its gate in the IDT is not present"
        case .gatePrivilege(let dpl, let cpl): "its gate's DPL is \(dpl), and CPL is \(cpl)"
        case .gateSelector(let selector, let problem):
            "its gate's selector \(Self.selector(selector)) \(problem.text)"
        case .handlerLimit(let offset, let limit):
            "its handler, at \(Hex(offset)), is beyond the code segment's limit \(Hex(limit))"
        case .handlerNonCanonical(let address): "its handler's address \(Hex(address)) is not canonical"
        case .taskStateLimit(let end, let limit):
            "the stack's field in the TSS ends at \(Hex(end)), and the TSS's limit is \(Hex(limit))"
        case .noTaskState: "a stack of the TSS is needed, and TR holds none"
        case .stackSelector(let selector, let problem):
            "the TSS's stack selector \(Self.selector(selector)) \(problem.text)"
        case .stackLimit(let pointer, let limit):
            "the stack has no room: SP is \(Hex(pointer)), and SS's limit is \(Hex(limit))"
        case .stackNonCanonical(let address): "the stack pointer \(Hex(address)) is not canonical"
        case .stackPage(let walk):
            "the stack cannot be written: \(Hex(walk.linear)) is \(Self.page(walk))"
        default: ""
        }
    }

    /// The page walk that the cause is about.
    var walk: PageWalk? {
        switch self {
        case .codePage(let walk, _), .dataPage(let walk, _, _), .tablePage(_, let walk), .stackPage(let walk):
            walk
        default: nil
        }
    }

    private static func page(_ walk: PageWalk) -> String { "\(walk.outcome)" }
    private static func selector(_ selector: UInt16) -> String { Hex.padded(selector, width: 4) }
}

extension FaultCause.SelectorProblem {
    var text: String {
        switch self {
        case .null: "is null"
        case .beyondTable(let limit): "is beyond its table, whose limit is \(Hex(limit))"
        case .noLocalTable: "is of the LDT, and none is loaded"
        case .unreadable: "names a descriptor that cannot be read"
        case .notCode: "names no code segment"
        case .notData: "names no segment that can be used so"
        case .notTaskState: "names no free TSS"
        case .notPresent: "names a segment that is not present"
        case .notLocalTable: "names no LDT"
        case .inLocalTable: "is of the LDT, and must be of the GDT"
        case .busyTask: "names a TSS that is busy"
        case .idleTask: "names a TSS that is not busy"
        case .taskInLongMode: "names a task, and IA-32e mode switches none"
        case .shortTaskState(let limit): "names a TSS whose limit \(Hex(limit)) has no room for a task"
        case .privilege: "names a segment of the wrong privilege"
        case .requestedPrivilege(let rpl, let cpl): "has RPL \(rpl), and CPL is \(cpl)"
        case .descriptorPrivilege(let dpl, let rpl, let cpl):
            "names a segment of DPL \(dpl), which RPL \(rpl) and CPL \(cpl) may not load so"
        case .notLong: "names no 64-bit code segment"
        }
    }
}

extension FaultCause.Mode {
    fileprivate var text: String {
        switch self {
        case .protectedOnly: "the instruction is undefined in this mode: it needs protected mode"
        case .bits64Only: "the instruction is undefined in this mode: it needs 64-bit mode"
        case .notBits64: "the instruction is undefined in 64-bit mode"
        case .systemManagement: "the instruction is undefined outside of system management mode"
        }
    }
}

extension FaultCause.ControlBit {
    fileprivate var text: String {
        switch self {
        case .emulation: "CR0.EM is set"
        case .taskSwitched: "CR0.TS is set"
        case .monitoredTaskSwitched: "CR0.MP and CR0.TS are set"
        case .osfxsr: "CR4.OSFXSR is clear: the system has not switched SSE on"
        case .osxsave: "CR4.OSXSAVE is clear"
        case .osxmmexcpt: "an SSE exception is not masked, and CR4.OSXMMEXCPT is clear"
        case .debugExtensions: "DR4 and DR5 are not there while CR4.DE is set"
        case .fsgsbase: "CR4.FSGSBASE is clear"
        case .protectionKeys: "CR4.PKE is clear"
        case .vmxe: "CR4.VMXE is clear"
        case .umip: "CR4.UMIP is set, and CPL is not 0"
        case .timeStamp: "CR4.TSD is set, and CPL is not 0"
        case .performanceCounters: "CR4.PCE is clear, and CPL is not 0"
        case .systemCall: "EFER.SCE is clear"
        case .svme: "EFER.SVME is clear"
        case .generalDetect: "DR7.GD is set"
        case .vectorState(let xcr0, let needed):
            "XCR0 is \(Hex(xcr0)), and the instruction needs its bits \(Hex(needed))"
        }
    }
}

extension FaultCause.PageDenial {
    fileprivate func text(_ walk: PageWalk) -> String {
        switch self {
        case .unmapped: "\(walk.outcome)"
        case .readOnly: "read-only (R/W is clear)"
        case .supervisor: "the supervisor's (U/S is clear), and CPL is 3"
        case .noExecute: "not executable (XD is set)"
        case .userCode: "the user's (U/S is set), and CR4.SMEP forbids it to the supervisor"
        case .userData: "the user's (U/S is set), and CR4.SMAP forbids it while RFLAGS.AC is clear"
        case .protectionKey(let key): "of the protection key \(key), which PKRU forbids"
        }
    }
}

extension FaultCause.PortMap {
    fileprivate var text: String {
        switch self {
        case .none: "TR holds no TSS with an I/O map"
        case .beyondLimit(let limit): "the I/O map's byte of the port is beyond the TSS's limit \(Hex(limit))"
        case .denied(let port): "the TSS's I/O map denies port \(Hex(port))"
        case .unreadable: "the TSS's I/O map cannot be read"
        }
    }
}
