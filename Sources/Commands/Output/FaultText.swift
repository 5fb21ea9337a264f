import Debugger
import X86

extension FaultCause {
    /// A clause: `the IDT's limit 0x0 ends before the vector's entry, which ends at 0x37`.
    var text: String {
        switch self {
        case .undefinedInstruction: "the instruction is undefined"
        case .softwareInterrupt: "the instruction asks for it"
        case .codeLimit(let offset, let limit):
            "the next instruction, at \(Hex(offset)), is beyond CS's limit \(Hex(limit))"
        case .codePage(let walk):
            "the instruction cannot be fetched: \(Hex(walk.linear)) is \(Self.page(walk))"
        case .privilege(let cpl): "the instruction needs CPL 0, and CPL is \(cpl)"
        case .portPrivilege(let cpl, let iopl):
            "the instruction needs CPL \(iopl) or less by IOPL, and CPL is \(cpl) (the TSS's I/O map was not looked at)"
        case .divideByZero: "the divisor is 0"
        case .divideOverflow: "the quotient does not fit"
        case .unusableSegment(let name): "\(name.rawValue) holds a null selector"
        case .readOnlySegment(let name): "\(name.rawValue) is not writable"
        case .segmentLimit(let name, let offset, let limit):
            "\(name.rawValue):\(Hex(offset)) is beyond the segment's limit \(Hex(limit))"
        case .nonCanonical(let address): "\(Hex(address)) is not canonical"
        case .dataPage(let walk, let isWrite):
            "\(Hex(walk.linear)) cannot be \(isWrite ? "written" : "read"): it is \(Self.page(walk))"
        case .selector(let selector, let problem): "selector \(Self.selector(selector)) \(problem.text)"
        case .msr(let index): "MSR \(Hex(index)) is not there, or does not take the value"
        case .control: "the control register does not take the value"
        case .external: "it came from outside"
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
        }
    }

    /// The page walk that the cause is about.
    var walk: PageWalk? {
        switch self {
        case .codePage(let walk), .dataPage(let walk, _), .tablePage(_, let walk), .stackPage(let walk): walk
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
        case .privilege: "names a segment of the wrong privilege"
        case .notLong: "names no 64-bit code segment"
        }
    }
}
