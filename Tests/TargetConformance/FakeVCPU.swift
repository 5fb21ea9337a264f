public import DebugTarget
import Debugger
public import KVMCore
import SystemPackage
public import X86

/// How a fake vCPU behaves where hosts differ.
public struct FakeQuirks: OptionSet, Sendable, Hashable {
    public var rawValue: Int
    public init(rawValue: Int) { self.rawValue = rawValue }
    /// HLT under single-step gives KVM_EXIT_DEBUG, and KVM_EXIT_HLT after one more instruction.
    public static let lateHalt = FakeQuirks(rawValue: 1 << 0)
    /// INT, IRET and POPF take TF, and single-step with it, as on VMX and SVM; no trap comes after STI, as on AMD's.
    public static let tfIsReal = FakeQuirks(rawValue: 1 << 1)
    /// Single-step is not honoured at all.
    public static let losesSteps = FakeQuirks(rawValue: 1 << 2)
    /// The single-step trap of an OUT comes at the KVM_RUN after its exit.
    public static let trapAfterIO = FakeQuirks(rawValue: 1 << 3)
    /// REP under single-step stops once with nothing done.
    public static let emptyREP = FakeQuirks(rawValue: 1 << 4)
    /// RIP stands on an OUT until the KVM_RUN after its exit, as on VMX and SVM.
    public static let outStays = FakeQuirks(rawValue: 1 << 5)
    /// INT3 exits where that was asked for.
    public static let int3Traps = FakeQuirks(rawValue: 1 << 6)
    /// Data breakpoints in the debug registers fire.
    public static let dataFires = FakeQuirks(rawValue: 1 << 7)
    /// `mov [addr], ax` to a page that is protected is more than the emulator can do.
    public static let weakEmulator = FakeQuirks(rawValue: 1 << 8)
    /// The host has no MSR filter.
    public static let noMSRFilter = FakeQuirks(rawValue: 1 << 9)
    /// What KVM's emulator does on VMX and SVM, accesses to devices, strings of port I/O and here every `mov [addr], ax`
    /// as if to a page table that KVM watches, leaves TF clear, but where RIP is still the place that single-step was
    /// asked for at.
    public static let emulationDropsTF = FakeQuirks(rawValue: 1 << 10)
    /// The debug registers are taken and never fire, as where a hypervisor below does not pass them on.
    public static let registersNeverFire = FakeQuirks(rawValue: 1 << 11)
    /// INT n with n from 80h on is not executed: KVM_RUN comes back, if it is asked to step, with nothing done.
    public static let noHighVectors = FakeQuirks(rawValue: 1 << 12)
    /// Each step stops three times with nothing done, as where the processor is left within an instruction for pages that
    /// are not there yet, and reports the step all the same.
    public static let emptySteps = FakeQuirks(rawValue: 1 << 13)
    /// The trap of an instruction and a breakpoint at the next one are reported at once, as Bochs does.
    public static let mergedTraps = FakeQuirks(rawValue: 1 << 14)
}

/// A vCPU without KVM: enough of real mode to step, break and halt in, and KVM's manners around it.
public final class FakeVCPU: VCPUAccess {
    public let id: Int
    let memory: FakeMemory
    let quirks: FakeQuirks
    var general = GeneralRegisters()
    var special = SpecialRegisters()
    private var debug = DebugRegisters()
    private var floating = FPURegisters()
    var msrs: [UInt32: UInt64] = [:]
    /// WRMSR of these exits.
    var trappedMSRs = TrappedMSRs.none
    /// An interrupt from outside that waits until IF is set.
    public var pendingInterrupt: UInt8?
    /// The same comes again once it was taken, as of a timer that is faster than a step.
    public var isInterruptDueAgain = false
    /// It waits in a local APIC, where it can be seen beforehand.
    public var hasLocalAPIC = false
    private var state = MPState.runnable
    private var pendingEvents = VCPUEvents()
    /// What KVM_SET_GUEST_DEBUG last set.
    public private(set) var guestDebug = GuestDebug.off
    /// KVM_SET_GUEST_DEBUG calls so far.
    public private(set) var guestDebugCalls = 0
    /// TF is set for the debugger.
    var isTrapping = false
    /// Where RIP was when single-step was asked for.
    private var steppedFrom: UInt64?
    private var haltIsDue = false
    private var trapIsDue = false
    private var hasShownREP = false
    private var emptyTraps = 0
    /// The last access to a protected page of the instruction at hand: KVM loses those before it.
    var protectedAccess: MMIO?
    /// How many bytes RIP has still to move after an OUT.
    private var outDue: UInt64 = 0
    private var isReadDue = false
    private var isINT3Due = false
    private var isDBDue = false
    /// The instruction before loaded SS, or set IF: no trap comes after it.
    var holdsTraps = false
    /// Where the answer to INS goes.
    var insTarget: UInt64?
    private var written: [UInt64] = []

    init(id: Int, memory: FakeMemory, quirks: FakeQuirks) {
        self.id = id
        self.memory = memory
        self.quirks = quirks
        for name in SegmentName.allCases { special[name] = .real(0, code: name == .cs) }
        special.tr.attributes = SegmentAttributes(rawValue: 0x8B)
        special.ldt.attributes = SegmentAttributes(rawValue: 0x82)
        special.idt.limit = 0x3FF
        special.gdt.limit = 0xFFFF
        special.cr0 = [.et]
        special.apicBase = 0xFEE0_0900
        general.rip = 0x7C00
        general.rsp = 0x7000
    }

    // MARK: VCPUAccess

    public func registers() throws(KVMError) -> GeneralRegisters {
        // kvm_get_rflags: TF is hidden while KVM single-steps.
        var shown = general
        if guestDebug.control.contains(.singleStep) { shown.rflags.remove(.tf) }
        return shown
    }
    public func setRegisters(_ registers: GeneralRegisters) throws(KVMError) {
        // The kernel sets TF again only at the RIP that single-step was asked for at.
        if registers.rip != general.rip { isTrapping = false }
        general = registers
    }
    public func specialRegisters() throws(KVMError) -> SpecialRegisters { special }
    public func setSpecialRegisters(_ registers: SpecialRegisters) throws(KVMError) {
        // What this processor does not have.
        if registers.cr4.contains(.vmxe) { throw KVMError("KVM_SET_SREGS", .invalidArgument) }
        special = registers
        // What it does not let go.
        special.apicBase |= 0x800
    }
    public func debugRegisters() throws(KVMError) -> DebugRegisters { debug }
    public func setDebugRegisters(_ registers: DebugRegisters) throws(KVMError) { debug = registers }
    public func fpu() throws(KVMError) -> FPURegisters { floating }
    public func setFPU(_ registers: FPURegisters) throws(KVMError) { floating = registers }
    public func msr(_ index: UInt32) throws(KVMError) -> UInt64 { msrs[index] ?? 0 }
    public func setMSR(_ index: UInt32, _ value: UInt64) throws(KVMError) { msrs[index] = value }
    public func localAPIC() throws(KVMError) -> LocalAPICState {
        let empty = [UInt8](repeating: 0, count: LocalAPICState.size)
        guard hasLocalAPIC, var apic = LocalAPICState(bytes: empty) else {
            throw KVMError("KVM_GET_LAPIC", .invalidArgument)
        }
        apic[0xF0] = 0x1FF
        if let vector = pendingInterrupt { apic[0x200 + Int(vector >> 5) * 16] = 1 << UInt32(vector & 31) }
        return apic
    }
    public func mpState() throws(KVMError) -> MPState { state }
    public func setMPState(_ state: MPState) throws(KVMError) { self.state = state }
    public func events() throws(KVMError) -> VCPUEvents { pendingEvents }
    public func setEvents(_ events: VCPUEvents) throws(KVMError) { pendingEvents = events }
    public func translate(_ linear: UInt64) throws(KVMError) -> Translation {
        Translation(gpa: linear, isValid: true, isWriteable: true, isUser: true)
    }
    public func setGuestDebug(_ debug: GuestDebug) throws(KVMError) {
        guestDebugCalls += 1
        if debug.control.contains(.injectBP) { isINT3Due = true }
        if debug.control.contains(.injectDB) { isDBDue = true }
        // As KVM, which reads RFLAGS without TF while it single-steps.
        if guestDebug.control.contains(.singleStep) { general.rflags.remove(.tf) }
        guestDebug = debug
        guestDebug.control.subtract([.injectBP, .injectDB])
        isTrapping = debug.control.contains(.singleStep)
        steppedFrom = isTrapping ? general.rip : nil
    }

    /// The instruction was done by KVM's emulator.
    private func wasEmulated() {
        guard quirks.contains(.emulationDropsTF) else { return }
        isTrapping = guestDebug.control.contains(.singleStep) && steppedFrom == general.rip
    }

    // MARK: KVM_RUN

    /// Runs up to `budget` instructions; nil if nothing exited.
    func run(budget: Int) -> VCPUExit? {
        for _ in 0..<budget {
            complete()
            if isINT3Due {
                isINT3Due = false
                raise(vector: 3, returningTo: general.rip &+ 1)
                continue
            }
            if isDBDue {
                isDBDue = false
                raise(vector: 1, returningTo: general.rip)
                continue
            }
            if trapIsDue {
                trapIsDue = false
                return trap(1 << 14)
            }
            if let vector = pendingInterrupt, general.rflags.contains(.if),
                !(isTrapping && guestDebug.control.contains(.blockInterrupts))
            {
                if !isInterruptDueAgain { pendingInterrupt = nil }
                raise(vector: vector, returningTo: general.rip)
            }
            if let matched = matchedBreakpoints() { return trap(matched) }
            let hadTF = general.rflags.contains(.tf)
            let isStep =
                (isTrapping
                    || hadTF && quirks.contains(.tfIsReal) && guestDebug.control.contains(.singleStep))
                && !quirks.contains(.losesSteps)
            if isStep, quirks.contains(.emptyREP), !hasShownREP, byte(0) == 0xF3 {
                hasShownREP = true
                return trap(1 << 14)
            }
            hasShownREP = false
            if isStep, quirks.contains(.emptySteps), emptyTraps < 3 {
                emptyTraps += 1
                return trap(1 << 14)
            }
            emptyTraps = 0
            let halted = haltIsDue
            if byte(0) == 0xCC, quirks.contains(.int3Traps),
                guestDebug.control.contains(.softwareBreakpoints)
            {
                return .debug(DebugExit(exception: 3, pc: pc, dr6: 0, dr7: 0))
            }
            written = []
            holdsTraps = false
            let opcode = byte(0)
            let isString = opcode == 0xF3 && (byte(1) == 0x6C || byte(1) == 0x6E)
            let exit = execute()
            if isString || opcode == 0xA3 || protectedAccess != nil { wasEmulated() }
            if let exit { return finish(exit, isStep) }
            if let access = protectedAccess {
                protectedAccess = nil
                isReadDue = !access.isWrite
                return .mmio(access)
            }
            if let matched = matchedData() { return trap(matched | (isStep ? 1 << 14 : 0)) }
            if halted {
                haltIsDue = false
                return .hlt
            }
            // Right after MOV SS, POP SS and STI a processor traps for no one.
            if holdsTraps, quirks.contains(.tfIsReal) { continue }
            let alike = quirks.contains(.mergedTraps) ? matchedBreakpoints() ?? 0 : 0
            if isStep { return trap(1 << 14 | alike) }
            guard hadTF, !holdsTraps, !isTrapping, ![0xCC, 0xCD].contains(opcode) else { continue }
            if quirks.contains(.tfIsReal), guestDebug.control.contains(.hardwareBreakpoints) {
                return trap(1 << 14 | alike)
            }
            isDBDue = true
        }
        return nil
    }

    private func finish(_ exit: VCPUExit, _ isStep: Bool) -> VCPUExit {
        switch exit {
        case .hlt where isStep && quirks.contains(.lateHalt) && !haltIsDue:
            haltIsDue = true
            return trap(1 << 14)
        case .hlt:
            haltIsDue = false
            return exit
        case .io where isStep && quirks.contains(.trapAfterIO):
            trapIsDue = true
            return exit
        default: return exit
        }
    }

    /// What KVM does first at the next KVM_RUN, or without one for a KVM_RUN with `immediate_exit`.
    func complete() {
        general.rip = (general.rip &+ outDue) & 0xFFFF
        outDue = 0
    }

    /// An OUT of so many bytes was executed; RIP stands after it.
    func outWasDone(_ length: UInt64) {
        guard quirks.contains(.outStays) else { return }
        general.rip = (general.rip &- length) & 0xFFFF
        outDue = length
    }

    /// The answer to a read of a protected page: mov ax, [addr] is done.
    func answer(read value: UInt64) {
        guard isReadDue else { return }
        isReadDue = false
        general.rax = general.rax & ~0xFFFF | value & 0xFFFF
        general.rip = (general.rip &+ 3) & 0xFFFF
    }

    /// A byte was written to memory that is not protected.
    func didWrite(_ gpa: UInt64) { written.append(gpa) }

    private func matchedData() -> UInt64? {
        guard quirks.contains(.dataFires), guestDebug.control.contains(.hardwareBreakpoints) else {
            return nil
        }
        let matched = (0..<4).reduce(UInt64(0)) { bits, i in
            let type = guestDebug.dr7 >> UInt64(16 + i * 4) & 0xF
            guard guestDebug.dr7 >> UInt64(i * 2) & 3 != 0, type & 3 != 0 else { return bits }
            let start = guestDebug.addresses[i]
            let length: UInt64 = [1, 2, 8, 4][Int(type >> 2)]
            return written.contains { $0 >= start && $0 - start < length } ? bits | 1 << UInt64(i) : bits
        }
        return matched == 0 ? nil : matched
    }

    var pc: UInt64 { special.cs.base &+ general.rip }

    private func trap(_ dr6: UInt64) -> VCPUExit {
        .debug(DebugExit(exception: 1, pc: pc, dr6: 0xFFFF_0FF0 | dr6, dr7: guestDebug.dr7))
    }

    /// Like KVM, again and again while the guest stands there.
    private func matchedBreakpoints() -> UInt64? {
        guard guestDebug.control.contains(.hardwareBreakpoints), !quirks.contains(.registersNeverFire) else {
            return nil
        }
        let matched = (0..<4).reduce(UInt64(0)) { bits, i in
            guestDebug.dr7 >> UInt64(i * 2) & 3 != 0 && guestDebug.dr7 >> UInt64(16 + i * 4) & 3 == 0
                && guestDebug.addresses[i] == pc
                ? bits | 1 << UInt64(i) : bits
        }
        return matched == 0 ? nil : matched
    }

    func byte(_ offset: UInt64) -> UInt8 { memory[physical(pc &+ offset)] }

    /// Where a linear address is; all ones, where no memory is, for one that is not mapped.
    func physical(_ linear: UInt64) -> UInt64 {
        guard special.cr0.contains(.pg) else { return linear }
        return PageWalk(linear, special) { memory.word($0, size: $1) }.gpa ?? .max
    }
}
