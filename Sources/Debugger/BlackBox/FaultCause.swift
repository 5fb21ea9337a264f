public import X86

/// Why an exception arose, as found by looking at registers and memory.
public enum FaultCause: Sendable, Hashable {
    // The instruction itself.
    /// Its bytes are no instruction, or one that is there to be undefined.
    case undefinedInstruction
    /// INT n, INT3, INTO or INT1.
    case softwareInterrupt
    /// The next instruction lies beyond CS's limit.
    case codeLimit(offset: UInt64, limit: UInt32)
    /// The next instruction's page cannot be executed.
    case codePage(PageWalk)
    /// It needs a privilege that CPL does not have.
    case privilege(cpl: UInt8)
    /// CPL is above IOPL, and the I/O map of the TSS was not looked at.
    case portPrivilege(cpl: UInt8, iopl: UInt8)
    case divideByZero
    case divideOverflow
    /// A segment that was loaded with a null selector was used.
    case unusableSegment(SegmentName)
    case readOnlySegment(SegmentName)
    case segmentLimit(SegmentName, offset: UInt64, limit: UInt32)
    case nonCanonical(UInt64)
    case dataPage(PageWalk, isWrite: Bool)
    /// A selector that the instruction loads, and what is wrong with it.
    case selector(UInt16, SelectorProblem)
    /// RDMSR or WRMSR of an index that this vCPU may not have, or a value that it does not take.
    case msr(UInt32)
    /// A control register was given bits that do not go together.
    case control
    /// An interrupt came from outside.
    case external

    // Its delivery.
    /// The vector's entry lies beyond the limit of the interrupt table.
    case tableLimit(entryEnd: UInt64, limit: UInt16)
    /// The page of the vector's entry, of a descriptor or of the TSS.
    case tablePage(Table, PageWalk)
    /// The entry is none of the gates that this mode has.
    case gateType(UInt8, isCodeOrData: Bool)
    case gateNotPresent
    /// INT n through a gate whose DPL is below CPL.
    case gatePrivilege(dpl: UInt8, cpl: UInt8)
    /// The gate's code segment.
    case gateSelector(UInt16, SelectorProblem)
    /// The handler lies beyond the limit of its code segment.
    case handlerLimit(offset: UInt64, limit: UInt32)
    case handlerNonCanonical(UInt64)
    /// The TSS has no room for the stack that is wanted.
    case taskStateLimit(fieldEnd: UInt64, limit: UInt32)
    case noTaskState
    /// The stack segment that the TSS names.
    case stackSelector(UInt16, SelectorProblem)
    case stackLimit(pointer: UInt64, limit: UInt32)
    case stackNonCanonical(UInt64)
    case stackPage(PageWalk)

    public enum Table: String, Sendable, Hashable {
        case idt, gdt, ldt, tss
    }

    public enum SelectorProblem: Sendable, Hashable {
        case null
        case beyondTable(limit: UInt64)
        case noLocalTable
        /// What it names cannot be read.
        case unreadable
        case notCode
        case notData
        case notTaskState
        case notPresent
        /// DPL, RPL and CPL do not go together.
        case privilege
        /// Not 64-bit code, or both 64- and 32-bit.
        case notLong
    }
}

/// A chain of exceptions: each arose when the one before was delivered.
public struct FaultChain: Sendable, Hashable {
    public struct Link: Sendable, Hashable {
        public var vector: UInt8
        /// Nil where the exception has none.
        public var errorCode: UInt32?
        public var cause: FaultCause?

        public init(vector: UInt8, errorCode: UInt32?, cause: FaultCause?) {
            self.vector = vector
            self.errorCode = errorCode
            self.cause = cause
        }
    }

    public enum End: Sendable, Hashable {
        /// The double fault could not be delivered either: the processor shuts down.
        case shutdown
        /// As memory is now, the last of them reaches its handler.
        case reachesHandler(linear: UInt64)
        /// The last of them goes through a task gate, which is not followed.
        case taskGate(selector: UInt16)
        /// What it takes to know cannot be read.
        case unreadable(gpa: UInt64)
        /// The instruction has no fault that can be seen.
        case unknown
    }

    public var links: [Link]
    public var end: End

    public init(links: [Link], end: End) {
        self.links = links
        self.end = end
    }
}
