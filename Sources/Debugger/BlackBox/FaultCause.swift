public import X86

/// Why an exception arose, as found by looking at registers and memory.
public enum FaultCause: Sendable, Hashable {
    // The instruction itself.
    /// Its bytes are no instruction, or one that is there to be undefined.
    case undefinedInstruction
    /// Prefixes and all it has more than 15 bytes.
    case instructionTooLong
    /// LOCK before an instruction, or a form of one, that does not take it.
    case lockPrefix
    /// There is such an instruction, in other modes.
    case wrongMode(Mode)
    /// A bit of a control register decides that the processor does not execute it.
    case disabled(ControlBit)
    /// An x87 exception that the control word does not mask waits (FSW.ES), and CR0.NE is set.
    case pendingX87(statusWord: UInt16)
    /// The SSE unit may have raised an exception that MXCSR does not mask.
    case vectorArithmetic(mxcsr: UInt32)
    /// INT n, INT3, INTO or INT1.
    case softwareInterrupt
    /// RFLAGS.TF: the trap comes after the instruction.
    case singleStep
    /// A debug register of the guest's own.
    case debugRegister(Int)
    /// The next instruction lies beyond CS's limit.
    case codeLimit(offset: UInt64, limit: UInt32)
    /// The next instruction's page cannot be executed.
    case codePage(PageWalk, PageDenial)
    /// A branch's target lies beyond CS's limit.
    case targetLimit(offset: UInt64, limit: UInt32)
    /// A branch's target, or a base that is loaded, is not canonical.
    case targetNonCanonical(UInt64)
    /// An indirect branch led to something else than ENDBR, with IBT.
    case noEndBranch
    /// It needs a privilege that CPL does not have.
    case privilege(cpl: UInt8)
    /// In virtual-8086 mode with IOPL below 3.
    case virtualPrivilege(iopl: UInt8)
    /// CPL is above IOPL.
    case flagPrivilege(cpl: UInt8, iopl: UInt8)
    /// CPL is above IOPL, and the TSS's I/O map does not allow the port.
    case portPrivilege(cpl: UInt8, iopl: UInt8, PortMap)
    case divideByZero
    case divideOverflow
    /// BOUND, with the bounds.
    case outOfBounds(Int64, lower: Int64, upper: Int64)
    /// A segment that was loaded with a null selector was used.
    case unusableSegment(SegmentName)
    case readOnlySegment(SegmentName)
    /// Code that may be executed only.
    case unreadableSegment(SegmentName)
    case segmentLimit(SegmentName, offset: UInt64, limit: UInt32)
    case nonCanonical(UInt64)
    /// An operand that must lie at a multiple of so many bytes: with RFLAGS.AC, or for an instruction of its own.
    case alignment(UInt64, UInt64)
    case dataPage(PageWalk, isWrite: Bool, PageDenial)
    /// A selector that the instruction loads, and what is wrong with it.
    case selector(UInt16, SelectorProblem)
    /// The call gate's, that the selector names.
    case throughGate(UInt16, SelectorProblem)
    /// IRET with RFLAGS.NT in IA-32e mode.
    case nestedTask
    /// IA32_SYSENTER_CS holds a null selector.
    case noSystemEntry
    /// RDMSR or WRMSR of an index that this vCPU may not have, or a value that it does not take.
    case msr(UInt32)
    /// A control register, or an MSR, does not take the value.
    case control(ControlWriteProblem)
    /// An extended control register, XSETBV's, does not take the value; or there is no such.
    case extendedControl(index: UInt32, value: UInt64)
    /// INVPCID's type, or the descriptor that it names.
    case invalidationType(UInt64)
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

    /// The modes that an instruction is for.
    public enum Mode: Sendable, Hashable {
        case protectedOnly
        case bits64Only
        case notBits64
        /// SMM: RSM.
        case systemManagement
    }

    /// What must be set, or clear, for an instruction to be executed.
    public enum ControlBit: Sendable, Hashable {
        case emulation, taskSwitched, monitoredTaskSwitched
        case osfxsr, osxsave, osxmmexcpt, debugExtensions, fsgsbase, protectionKeys, vmxe, umip
        case timeStamp, performanceCounters
        case systemCall, svme
        case generalDetect
        case vectorState(xcr0: UInt64, needed: UInt64)
    }

    /// What of a mapping forbids the access.
    public enum PageDenial: Sendable, Hashable {
        /// There is no mapping.
        case unmapped
        /// R/W is clear.
        case readOnly
        /// U/S is clear, and CPL is 3.
        case supervisor
        /// XD is set.
        case noExecute
        /// U/S is set, and CR4.SMEP or CR4.SMAP forbids that to the supervisor.
        case userCode, userData
        /// PKRU, of the page's key.
        case protectionKey(UInt8)
    }

    /// What the I/O map says of the port.
    public enum PortMap: Sendable, Hashable {
        /// TR holds none, or a 16-bit TSS.
        case none
        /// The byte lies beyond the TSS's limit.
        case beyondLimit(UInt32)
        /// The bit is set.
        case denied(port: UInt16)
        /// It cannot be read.
        case unreadable
    }

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
        case notLocalTable
        /// A system descriptor that must lie in the GDT.
        case inLocalTable
        /// The task is busy already, or is to be returned to and is not busy.
        case busyTask, idleTask
        /// A TSS or a task gate in IA-32e mode.
        case taskInLongMode
        /// The TSS has no room for a task.
        case shortTaskState(limit: UInt32)
        /// DPL, RPL and CPL do not go together.
        case privilege
        case requestedPrivilege(rpl: UInt8, cpl: UInt8)
        case descriptorPrivilege(dpl: UInt8, rpl: UInt8, cpl: UInt8)
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
