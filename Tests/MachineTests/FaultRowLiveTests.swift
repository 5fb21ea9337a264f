import DebugTarget
import Debugger
import Glibc
import KVMCore
import Machine
import TargetConformance
import Testing
import X86

/// The rows of the black box's table, executed: the handler that the guest comes to, and the error code on its stack,
/// are those that looking finds.
@Suite(.enabled(if: isLive, "needs /dev/kvm"), .serialized)
struct FaultRowLiveTests {
    enum Outcome: Sendable, Hashable {
        /// The instruction was executed, and no exception came.
        case executed
        case raised(vector: UInt8, errorCode: UInt32?)
        /// A triple fault.
        case shutDown
        /// The host cannot be brought into the state, or does not execute the instruction.
        case unable(String)
        case elsewhere(String)
    }

    private static func rows(
        virtual8086 isVirtual: Bool = false, needsProcessor: Bool
    ) -> [FaultRow] {
        FaultRow.all.filter {
            !$0.isMadeUpOnly && $0.needsProcessor == needsProcessor && ($0.mode == .virtual8086) == isVirtual
                && !special.contains($0.name)
        }
    }

    /// Rows with a requirement of their own.
    private static let special: Set<String> = strictOnly.union([
        lockedMove, smap, umip, breakpoint, resumeFlag,
    ])

    /// Some emulated processors look at less than the manual says: not at limits, types and null selectors of segments,
    /// nor at what is reserved in the upper tables and in registers, nor at GD, nor at the FPU's state before EMMS. One
    /// of them hangs at the switch to long mode without PAE.
    private static let strictOnly: Set<String> = [
        "IP beyond the limit", "an instruction that crosses the limit", "MOV from DR6 with GD", "a null DS",
        "a write to data that is read-only", "a write to code", "a read of code that is not readable",
        "beyond DS's limit", "beyond 64 KiB in real mode", "below what expands down",
        "a read beyond SS's limit",
        "a stack address that is not canonical", "REP STOS to a null ES", "reserved bits in a PDE of 2 MiB",
        "XD without NXE is reserved", "PS in a PML4E is reserved", "LTR of a null selector",
        "JMP to code with L and D", "RETF beyond the stack's limit", "IRET in real mode beyond 64 KiB",
        "PG with LME without PAE", "CR3 with reserved bits", "an x87 exception that waits", "EMMS with EM",
        "EMMS with TS", "#AC at CPL 3",
        "reserved bits in a PDE of 4 MiB", "JMP beyond 64 KiB in real mode", "the upper half of CR0",
        "CR3 of PAE paging, whose PDPTE has reserved bits", "LSTAR that is not canonical",
        "GS.base that is not canonical", "LIDT of a base that is not canonical",
        "INVPCID of a type that there is not", "INT1",
    ]

    /// Ordinary guests are run by KVM's emulator here: BOUND, which it lacks, tells.
    private static let isEmulated: Bool = {
        guard isLive, let row = FaultRow.all.first(where: { $0.name == "BOUND within" }),
            case .executed? = try? run(row)
        else { return true }
        return false
    }()

    private static let isSVM = access("/sys/module/kvm_amd", F_OK) == 0

    private static let lockedMove = "LOCK before MOV"
    private static let smap = "a read of the user's page with SMAP"
    private static let umip = "SGDT with UMIP"
    private static let breakpoint = "DR0 at the instruction"
    private static let resumeFlag = "DR0 at the instruction with RF"

    private static let hasSMAP = canSet(.smap)
    private static let hasUMIP = canSet(.umip)

    private static func canSet(_ flag: CR4) -> Bool {
        let trial = FaultRow("CR4", .long, [0x90], nil) { $0.special.cr4.insert(flag) }
        guard isLive, case .unable? = try? run(trial) else { return true }
        return false
    }

    /// DS's limit tells.
    private static let isStrict: Bool = {
        guard isLive, let row = FaultRow.all.first(where: { $0.name == "beyond DS's limit" }),
            case .executed? = try? run(row)
        else { return true }
        return false
    }()

    /// Some emulated processors lose RF on the way into a guest; a breakpoint in real mode tells.
    private static let keepsResumeFlag: Bool = {
        let trial = FaultRow("RF", .real, [0x90], nil) {
            var debug = DebugRegisters()
            (debug.dr0, debug.dr7) = (FaultStage.code, 0x402)
            $0.debug = debug
            $0.registers.rflags.insert(.rf)
        }
        guard isLive, case .raised? = try? run(trial) else { return true }
        return false
    }()

    /// Some emulated processors execute what LOCK may not stand before; a store tells.
    private static let looksForLock: Bool = {
        // lock mov [1000], ax
        guard isLive, case .executed? = try? run(FaultRow("a store", .real, [0xF0, 0xA3, 0x00, 0x10], 6))
        else { return true }
        return false
    }()

    @Test(
        .enabled(if: looksForLock, "needs a processor that refuses LOCK before MOV"),
        arguments: FaultRow.all.filter { $0.name == lockedMove })
    func lockIsRefused(_ row: FaultRow) throws { try check(row) }

    @Test(
        .enabled(if: hasSMAP, "needs a processor with SMAP"),
        arguments: FaultRow.all.filter { $0.name == smap })
    func pagesOfTheUserAreRefused(_ row: FaultRow) throws { try check(row) }

    @Test(
        .enabled(if: hasUMIP, "needs a processor with UMIP"),
        arguments: FaultRow.all.filter { $0.name == umip })
    func tablesOfTheSystemAreNotShown(_ row: FaultRow) throws { try check(row) }

    @Test(
        .enabled(if: isStrict, "needs a processor that checks all that the manual says"),
        arguments: FaultRow.all.filter { strictOnly.contains($0.name) && !$0.needsProcessor })
    func aStrictHostRaisesTheSame(_ row: FaultRow) throws { try check(row) }

    @Test(
        .enabled(if: !isEmulated, "needs a KVM that runs guests on the processor"),
        .enabled(if: isStrict, "needs a processor that checks all that the manual says"),
        arguments: FaultRow.all.filter { strictOnly.contains($0.name) && $0.needsProcessor })
    func aStrictProcessorRaisesTheSame(_ row: FaultRow) throws { try check(row) }

    @Test(
        .enabled(
            if: isLive && DebugFacilities.ofHost.works(.executionBreakpoint, in: .protectedKernel),
            "needs debug registers that fire in a guest"),
        arguments: FaultRow.all.filter { $0.name == breakpoint })
    func breakpointsFire(_ row: FaultRow) throws { try check(row) }

    @Test func rowsWithARequirementAreThere() {
        #expect(Self.special.subtracting(FaultRow.all.map(\.name)) == [])
    }

    @Test(
        .enabled(if: keepsResumeFlag, "needs a processor that enters a guest with RF"),
        arguments: FaultRow.all.filter { $0.name == resumeFlag })
    func resumeFlagHoldsABreakpointOff(_ row: FaultRow) throws { try check(row) }

    @Test(arguments: rows(needsProcessor: false))
    func theHostRaisesTheSame(_ row: FaultRow) throws { try check(row) }

    @Test(
        .enabled(if: !isEmulated, "needs a KVM that runs guests on the processor"),
        arguments: rows(needsProcessor: true))
    func theProcessorRaisesTheSame(_ row: FaultRow) throws { try check(row) }

    @Test(arguments: rows(virtual8086: true, needsProcessor: false))
    func virtual8086ModeRaisesTheSame(_ row: FaultRow) throws { try check(row) }

    private func check(_ row: FaultRow) throws {
        let found = try Self.run(row)
        if row.endsInShutdown { return #expect(found == .shutDown) }
        let vectors = [row.vector, row.otherVector].compactMap(\.self)
        let wanted = vectors.map { Outcome.raised(vector: $0, errorCode: row.errorCode) }
        #expect((wanted.isEmpty ? [.executed] : wanted).contains(found), "\(found)")
    }

    /// SVM does not look at the busy bit of the cached TR, and QEMU's model of it dies of a busy TSS on the way to another
    /// stack; VMX wants it set.
    private static func stage(of row: FaultRow, special: SpecialRegisters) -> FaultStage {
        var stage = row.stage(special: special)
        if isSVM { stage.special.tr.attributes.type &= ~2 }
        return stage
    }

    private static func run(_ row: FaultRow) throws -> Outcome {
        var configuration = MachineConfiguration()
        configuration.ramSize = UInt64(FaultStage.memorySize)
        let machine = try OwnedMachine(configuration)
        let stage = Self.stage(of: row, special: try machine.withVCPU(0) { try $0.specialRegisters() })
        try stage.memory.withUnsafeBytes { try machine.memory.write(0, $0) }
        do {
            try machine.withVCPU(0) { vcpu in
                try vcpu.setSpecialRegisters(stage.special)
                try vcpu.setRegisters(stage.registers)
                if let debug = stage.debug { try vcpu.setDebugRegisters(debug) }
                if let fpu = stage.fpu { try vcpu.setFPU(fpu) }
                for (index, value) in stage.msrs { try vcpu.setMSR(index, value) }
            }
        } catch {
            return .unable("\(error)")
        }
        try machine.go()
        guard let report = machine.waitForStop(timeout: .paced(5)) else {
            machine.interrupt()
            _ = machine.waitForStop(timeout: .paced(5))
            return .unable("it makes no progress")
        }
        let (registers, special) = try machine.withVCPU(0) { (try $0.registers(), try $0.specialRegisters()) }
        switch report.reason {
        case .hlt: break
        case .tripleFault: return .shutDown
        case .internalError(let error): return .unable("\(error)")
        default: return .elsewhere("\(report.reason) at \(registers.rip)")
        }
        let place = registers.rip &- 1
        if place == FaultStage.code + UInt64(row.code.count) { return .executed }
        guard place >= FaultStage.handlers, place < FaultStage.handlers + 512, place & 15 == 0 else {
            return .elsewhere("HLT at \(place)")
        }
        let vector = UInt8((place - FaultStage.handlers) >> 4)
        let hasCode = special.cr0.contains(.pe) && row.errorCode != nil
        let width = special.efer.contains(.lma) ? 8 : 4
        let code = hasCode ? machine.memory.word(registers.rsp & 0xFFFF_FFFF, size: width) : nil
        return .raised(vector: vector, errorCode: code.map { UInt32(truncatingIfNeeded: $0) })
    }
}
