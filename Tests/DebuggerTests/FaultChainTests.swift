import KVMCore
import TargetConformance
import Testing
import X86

@testable import DebugTarget
@testable import Debugger

/// The explanation of a triple fault, on states that are made up.
@Suite struct FaultChainTests {
    /// A processor with its memory: flat 32-bit protected mode at CPL 0, an IDT at 0x1000, a GDT at 0x2000, a TSS at
    /// 0x3000, code at 0x5000, a stack at 0x7000, tables for paging from 0x10000 on.
    struct Made {
        let memory = FakeMemory(size: 1 << 20)
        var registers = GeneralRegisters()
        var special = SpecialRegisters()
        var events: VCPUEvents?

        init() {
            registers.rip = 0x5000
            registers.rsp = 0x7000
            special.cr0 = [.pe, .et]
            special.cs = Self.segment(0x08, 0xC09B)
            for name in [SegmentName.ss, .ds, .es, .fs, .gs] { special[name] = Self.segment(0x10, 0xC093) }
            special.tr = Segment(
                base: 0x3000, limit: 0x67, selector: 0x18, attributes: SegmentAttributes(rawValue: 0x8B))
            special.ldt.attributes.isUnusable = true
            special.idt = DescriptorTable(base: 0x1000, limit: 0x7FF)
            special.gdt = DescriptorTable(base: 0x2000, limit: 0x3F)
            // 08: 32-bit code; 10: data; 18: the TSS; 20: user's data; 28: code that is not present; 30: 64-bit code
            put(0x2008, 0x00CF_9B00_0000_FFFF)
            put(0x2010, 0x00CF_9300_0000_FFFF)
            put(0x2018, 0x0000_8B00_3000_0067)
            put(0x2020, 0x00CF_F300_0000_FFFF)
            put(0x2028, 0x00CF_1B00_0000_FFFF)
            put(0x2030, 0x00AF_9B00_0000_FFFF)
            code([0x0F, 0x0B])
        }

        static func segment(_ selector: UInt16, _ attributes: UInt32) -> Segment {
            Segment(
                base: 0, limit: 0xFFFF_FFFF, selector: selector,
                attributes: SegmentAttributes(rawValue: attributes))
        }

        func put(_ gpa: UInt64, _ value: UInt64) {
            withUnsafeBytes(of: value.littleEndian) { try? memory.write(gpa, $0) }
        }

        func code(_ bytes: [UInt8]) {
            bytes.withUnsafeBytes { try? memory.write(0x5000, $0) }
        }

        /// An interrupt gate to 08:6000, present, DPL 0.
        func gate(_ vector: UInt64, type: UInt64 = 0x8E, selector: UInt64 = 0x08, offset: UInt64 = 0x6000) {
            put(
                0x1000 + vector * 8,
                offset & 0xFFFF | selector << 16 | type << 40 | (offset >> 16 & 0xFFFF) << 48)
        }

        /// 64-bit mode with 1 GiB mapped one to one by 2 MiB pages, and 64-bit gates.
        mutating func enterLongMode() {
            special.cr0.insert(.pg)
            special.cr4 = [.pae]
            special.efer = [.lme, .lma]
            special.cs = Self.segment(0x30, 0xA09B)
            special.cr3 = 0x10000
            put(0x10000, 0x11003)
            put(0x11000, 0x12003)
            for page in UInt64(0)..<512 { put(0x12000 + page * 8, page << 21 | 0x83) }
        }

        func longGate(_ vector: UInt64, ist: UInt64 = 0, offset: UInt64 = 0x6000, selector: UInt64 = 0x30) {
            put(
                0x1000 + vector * 16,
                offset & 0xFFFF | selector << 16 | ist << 32 | 0x8E << 40 | (offset >> 16 & 0xFFFF) << 48)
            put(0x1008 + vector * 16, offset >> 32)
        }

        var chain: FaultChain {
            FaultChain(
                FaultScene(
                    registers: registers, view: LinearMemory(memory: memory, special: special), events: events
                ))
        }
    }

    private func vectors(_ chain: FaultChain) -> [UInt8] { chain.links.map(\.vector) }

    // MARK: protected mode

    @Test func anEmptyIDTIsNamedAtEveryStage() {
        var made = Made()
        made.special.idt = DescriptorTable()
        let chain = made.chain
        #expect(vectors(chain) == [6, 13, 13, 8, 13])
        #expect(chain.end == .shutdown)
        #expect(chain.links[0].cause == .undefinedInstruction)
        #expect(chain.links[1].cause == .tableLimit(entryEnd: 0x37, limit: 0))
        #expect(chain.links[1].errorCode == 0x33)
        #expect(chain.links[3] == FaultChain.Link(vector: 8, errorCode: 0, cause: nil))
        #expect(chain.links[4].cause == .tableLimit(entryEnd: 0x47, limit: 0))
    }

    @Test func aHandlerThatIsThereEndsTheChain() {
        let made = Made()
        made.gate(6)
        #expect(vectors(made.chain) == [6])
        #expect(made.chain.end == .reachesHandler(linear: 0x6000))
    }

    @Test func gatesThatAreNotPresentAreNotPresent() {
        let made = Made()
        made.gate(6, type: 0x0E)
        made.gate(11, type: 0x0E)
        made.gate(8, type: 0x0E)
        let chain = made.chain
        #expect(vectors(chain) == [6, 11, 11, 8, 11])
        #expect(chain.links[1].cause == .gateNotPresent)
        #expect(chain.links[1].errorCode == 0x33)
        #expect(chain.end == .shutdown)
    }

    @Test func anEntryThatIsNoGateIsNamed() {
        let made = Made()
        // A call gate; for #GP a data segment; for #DF a task gate to a TSS that is busy.
        made.gate(6, type: 0x8C)
        made.gate(13, type: 0x93)
        made.put(0x1040, 0x0000_8500_0018_0000)
        let chain = made.chain
        #expect(vectors(chain) == [6, 13, 13, 8, 13])
        #expect(chain.links[1].cause == .gateType(12, isCodeOrData: false))
        #expect(chain.links[2].cause == .gateType(3, isCodeOrData: true))
        #expect(chain.links[4].cause == .gateSelector(0x18, .notTaskState))
        #expect(chain.end == .shutdown)
    }

    @Test func aTaskGateIsNotFollowed() {
        let made = Made()
        made.put(0x2018, 0x0000_8900_3000_0067)
        made.put(0x1030, 0x0000_8500_0018_0000)
        #expect(made.chain.end == .taskGate(selector: 0x18))
    }

    @Test(arguments: [
        (UInt64(0x28), FaultCause.SelectorProblem.notPresent, UInt8(11)), (0x10, .notCode, 13),
        (0x40, .beyondTable(limit: 0x3F), 13), (0x00, .null, 13), (0x0C, .noLocalTable, 13),
    ])
    func theGatesCodeSegmentIsChecked(
        _ selector: UInt64, _ problem: FaultCause.SelectorProblem, _ vector: UInt8
    ) {
        let made = Made()
        made.gate(6, selector: selector)
        let chain = made.chain
        #expect(chain.links[1].vector == vector)
        #expect(chain.links[1].cause == .gateSelector(UInt16(selector), problem))
        #expect(chain.links[1].errorCode == UInt32(selector & ~3) | 1)
    }

    @Test func aHandlerBeyondItsSegmentIsNamed() {
        let made = Made()
        made.put(0x2008, 0x0040_9B00_0000_0FFF)
        made.gate(6)
        #expect(made.chain.links[1].cause == .handlerLimit(offset: 0x6000, limit: 0xFFF))
        #expect(made.chain.links[1].errorCode == 1)
    }

    @Test func aStackWithoutRoomIsNamed() {
        var made = Made()
        for vector in [6, 8, 12, 13] as [UInt64] { made.gate(vector) }
        made.special.ss.limit = 0xFFF
        let chain = made.chain
        #expect(vectors(chain) == [6, 12, 12, 8, 12])
        #expect(chain.links[1].cause == .stackLimit(pointer: 0x7000, limit: 0xFFF))
        #expect(chain.end == .shutdown)
    }

    // MARK: from CPL 3

    private func user() -> Made {
        var made = Made()
        made.special.cs = Made.segment(0x0B, 0xC0FB)
        made.special.ss = Made.segment(0x23, 0xC0F3)
        made.gate(6)
        return made
    }

    @Test func theTSSGivesTheStack() {
        let made = user()
        made.put(0x3004, 0x0010_0000_7800)
        #expect(made.chain.end == .reachesHandler(linear: 0x6000))
    }

    @Test func aTSSThatIsTooShortOrMissingIsNamed() {
        var made = user()
        made.special.tr.limit = 5
        #expect(made.chain.links[1].vector == 10)
        #expect(made.chain.links[1].cause == .taskStateLimit(fieldEnd: 7, limit: 5))
        made.special.tr.attributes.isUnusable = true
        #expect(made.chain.links[1].cause == .noTaskState)
    }

    @Test func aStackSelectorOfAnotherRingOrNoneIsNamed() {
        let made = user()
        #expect(made.chain.links[1].cause == .stackSelector(0, .null))
        made.put(0x3004, 0x0023_0000_7800)
        #expect(made.chain.links[1].cause == .stackSelector(0x23, .privilege))
        #expect(made.chain.links[1].errorCode == 0x21)
    }

    @Test func softwareInterruptsNeedTheGatesPrivilege() {
        let made = user()
        made.code([0xCD, 0x06])
        let chain = made.chain
        #expect(chain.links[0].cause == .softwareInterrupt)
        #expect(chain.links[1].cause == .gatePrivilege(dpl: 0, cpl: 3))
        #expect(chain.links[1].errorCode == 0x32)
    }

    @Test func privilegedInstructionsAndPortsAreNamed() {
        let made = user()
        made.code([0xF4])
        #expect(made.chain.links[0].cause == .privilege(cpl: 3))
        made.code([0xE6, 0x80])
        // The I/O map begins after the TSS.
        made.put(0x3066, 0x68)
        #expect(made.chain.links[0].cause == .portPrivilege(cpl: 3, iopl: 0, .beyondLimit(0x67)))
    }

    // MARK: real mode

    @Test func realModeBeyondTheLimitOfItsTable() {
        var made = Made()
        made.special.cr0 = [.et]
        made.special.cs = .real(0, code: true)
        made.special.ss = .real(0)
        made.special.idt = DescriptorTable(base: 0, limit: 0x0F)
        made.code([0xCD, 0x13])
        let chain = made.chain
        #expect(vectors(chain) == [0x13, 13, 13, 8, 13])
        #expect(chain.links[1].cause == .tableLimit(entryEnd: 0x4F, limit: 0x0F))
        #expect(chain.links.allSatisfy { $0.errorCode == nil })
        #expect(chain.end == .shutdown)
        made.special.idt.limit = 0x3FF
        made.registers.rsp = 3
        #expect(made.chain.links[1].cause == .stackLimit(pointer: 3, limit: 0xFFFF))
    }

    @Test func divisionsAreLookedAt() {
        var made = Made()
        made.code([0xF7, 0xF1])
        #expect(made.chain.links[0] == FaultChain.Link(vector: 0, errorCode: nil, cause: .divideByZero))
        (made.registers.rcx, made.registers.rdx) = (2, 2)
        #expect(made.chain.links[0].cause == .divideOverflow)
        made.registers.rdx = 1
        #expect(made.chain.links.isEmpty)
        #expect(made.chain.end == .unknown)
        // div byte [0x8000], which holds 0
        made.code([0xF6, 0x35, 0x00, 0x80, 0x00, 0x00])
        #expect(made.chain.links[0].cause == .divideByZero)
    }

    @Test func selectorsThatAnInstructionLoadsAreChecked() {
        var made = Made()
        // jmp 28:6000; jmp 48:6000; mov ds, ax; retf
        made.code([0xEA, 0x00, 0x60, 0x00, 0x00, 0x28, 0x00])
        #expect(
            made.chain.links[0]
                == FaultChain.Link(vector: 11, errorCode: 0x28, cause: .selector(0x28, .notPresent)))
        made.code([0xEA, 0x00, 0x60, 0x00, 0x00, 0x48, 0x00])
        #expect(made.chain.links[0].cause == .selector(0x48, .beyondTable(limit: 0x3F)))
        made.code([0x8E, 0xD8])
        made.registers.rax = 0x48
        #expect(made.chain.links[0].cause == .selector(0x48, .beyondTable(limit: 0x3F)))
        made.registers.rax = 0
        #expect(made.chain.links.isEmpty)
        made.code([0xCB])
        made.put(0x7000, 0x0010_0000_6000)
        #expect(made.chain.links[0].cause == .selector(0x10, .notCode))
    }

    // MARK: paging

    @Test func aPageFaultShowsItsWalk() {
        var made = Made()
        made.enterLongMode()
        made.special.idt.limit = 0xFFF
        // mov eax, [0x40000000], which no page maps: the PDPT's second entry is clear.
        made.code([0x8B, 0x04, 0x25, 0x00, 0x00, 0x00, 0x40])
        let chain = made.chain
        #expect(chain.links[0].vector == 14 && chain.links[0].errorCode == 0)
        guard case .dataPage(let walk, false, .unmapped)? = chain.links[0].cause else {
            Issue.record("\(chain)")
            return
        }
        #expect(walk.linear == 0x4000_0000 && walk.outcome == .notPresent(.directoryPointers))
        #expect(walk.steps.map(\.address) == [0x10000, 0x11008])
        // Its gate is all zeros: no gate type of 64-bit mode.
        #expect(vectors(chain) == [14, 13, 8, 13])
        #expect(chain.links[1].cause == .gateType(0, isCodeOrData: false))
        #expect(chain.end == .shutdown)
    }

    @Test func aStackThatIsNotMappedBringsDownAllHandlers() {
        var made = Made()
        made.enterLongMode()
        for vector in UInt64(0)..<32 { made.longGate(vector) }
        made.registers.rsp = 0x4000_1000
        // push rax
        made.code([0x50])
        let chain = made.chain
        #expect(vectors(chain) == [14, 14, 8, 14])
        guard case .dataPage(let first, true, .unmapped)? = chain.links[0].cause,
            case .stackPage(let second)? = chain.links[1].cause,
            case .stackPage(let third)? = chain.links[3].cause
        else {
            Issue.record("\(chain)")
            return
        }
        #expect(first.linear == 0x4000_0FF8)
        // SS, RSP, RFLAGS, CS, RIP and an error code.
        #expect(second.linear == 0x4000_0FD0 && third.linear == 0x4000_0FD0)
        #expect(chain.links[1].errorCode == 2)
        #expect(chain.end == .shutdown)
        // With a stack of its own the double fault is delivered.
        made.longGate(8, ist: 1)
        made.put(0x3024, 0x8000)
        #expect(vectors(made.chain) == [14, 14, 8])
        #expect(made.chain.end == .reachesHandler(linear: 0x6000))
        // The TSS ends before it.
        made.special.tr.limit = 0x23
        #expect(made.chain.links.last?.vector == 10)
        #expect(made.chain.links.last?.cause == .taskStateLimit(fieldEnd: 0x2B, limit: 0x23))
        // Or it leads nowhere.
        made.special.tr.limit = 0x67
        made.put(0x3024, 0x8000_0000_0000_0000)
        #expect(made.chain.links.last?.cause == .stackNonCanonical(0x8000_0000_0000_0000))
    }

    @Test func codeThatIsNotMappedIsAFetch() {
        var made = Made()
        made.enterLongMode()
        made.special.efer.insert(.nxe)
        made.registers.rip = 0x4000_0000
        let chain = made.chain
        guard case .codePage(let walk, .unmapped)? = chain.links.first?.cause else {
            Issue.record("\(chain)")
            return
        }
        #expect(walk.linear == 0x4000_0000)
        #expect(chain.links[0].errorCode == 0x10)
    }

    @Test func aGateTo32BitCodeInLongModeIsNamed() {
        var made = Made()
        made.enterLongMode()
        made.longGate(6, selector: 0x08)
        #expect(made.chain.links[1].cause == .gateSelector(0x08, .notLong))
        made.longGate(6, offset: 0x0080_0000_0000_0000)
        #expect(made.chain.links[1].cause == .handlerNonCanonical(0x0080_0000_0000_0000))
    }

    @Test func anIDTThatIsNotMappedIsNamed() {
        var made = Made()
        made.enterLongMode()
        made.special.idt.base = 0x4000_0000
        let chain = made.chain
        #expect(vectors(chain) == [6, 14, 14, 8, 14])
        guard case .tablePage(.idt, let walk)? = chain.links[1].cause else {
            Issue.record("\(chain)")
            return
        }
        #expect(walk.linear == 0x4000_0060)
    }

    // MARK: what came from outside

    @Test func aPendingInterruptIsTheFirstWhereTheInstructionIsHarmless() {
        var made = Made()
        made.code([0x90])
        #expect(made.chain == FaultChain(links: [], end: .unknown))
        var events = VCPUEvents()
        events.interruptInjected = true
        events.interruptVector = 0x20
        made.events = events
        let chain = made.chain
        #expect(chain.links[0] == FaultChain.Link(vector: 0x20, errorCode: nil, cause: .external))
        #expect(chain.links[1].cause == .gateType(0, isCodeOrData: false))
    }

    @Test(arguments: [
        (UInt8(13), UInt8(14), false), (14, 13, true), (14, 14, true), (13, 11, true), (6, 13, false),
        (3, 14, false), (0, 10, true), (8, 13, false),
    ])
    func doubleFaultsAreMadeAsTheManualHasIt(_ first: UInt8, _ second: UInt8, _ isDouble: Bool) {
        #expect(FaultChain.isDouble(first, second) == isDouble)
    }
}
