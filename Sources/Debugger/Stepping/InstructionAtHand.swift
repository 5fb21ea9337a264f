import DebugTarget
import X86

/// The instruction that a vCPU stands before, and the vCPU as it is there: what has to be known beforehand to tell
/// afterwards what became of it.
struct InstructionAtHand: Sendable {
    /// Before it.
    var registers: GeneralRegisters
    /// Its linear address.
    var pc: UInt64 = 0
    /// CS's selector before it.
    var selector: UInt16 = 0
    /// Whether linear addresses are translated there, and what code it is.
    var isPaging = false
    var context = CodeContext.real
    var isPrivileged: Bool { !context.isUser }
    /// An exception there may start with a breakpoint's instruction.
    var mayStartHandler = true
    var opcode = OpcodeClass.ordinary
    /// MOVS, CMPS, LODS, SCAS or OUTS: it reads memory, and may read much.
    var readsString = false
    /// Where it leads to, if it is a software interrupt whose gate can be read.
    var handler: UInt64?
    /// Where its exceptions would lead to, as far as the step has to know it.
    var faultHandlers: [UInt64] = []
    /// None is due that could be stopped at in its handler.
    var holdsOffInterrupts = false
    /// IRET or POPF came before it.
    private(set) var followsFlags = false
    /// Of all these, those that no debug register is left for, or that none fires at.
    var unarmedHandlers: [UInt64] = []
    /// The exceptions that it may raise, as far as its first bytes tell.
    var faults: OpcodeFaults = []
    /// A trap of the guest's own is delivered in its place: it is not executed.
    var isDelivery = false
    /// How often it was begun again, because nothing of it was done.
    var retries = 0
    var isRetried: Bool { retries > 0 }
    /// Some processors report a step right after they were left within it, as for a page that is not there yet, and may
    /// be left so several times for one instruction. After so many it is not executed at all.
    static let mostRetries = 8

    init(registers: GeneralRegisters) { self.registers = registers }

    /// The vCPU stands before another one. In place, because it is done at each step; what its exceptions
    /// lead to is found by ``StepEngine``.
    ///
    /// - Parameters:
    ///   - prefix: its first bytes, the first in bits 0-7.
    ///   - count: how many of them are known, 8 at most.
    mutating func move(
        _ registers: GeneralRegisters, _ special: SpecialRegisters, pc: UInt64, prefix: UInt64, count: Int,
        memory: @autoclosure () -> any PhysicalMemory
    ) {
        followsFlags = opcode == .loadsFlags
        self.registers = registers
        self.pc = pc
        selector = special.cs.selector
        isPaging = special.cr0.contains(.pg)
        context = CodeContext(registers, special)
        opcode = OpcodeClass(
            bytes: prefix, count: count,
            isLong: special.efer.contains(.lma) && special.cs.attributes.isLong)
        readsString = Self.readsString(prefix, count)
        handler = nil
        if case .softwareInterrupt(let vector) = opcode {
            handler = InterruptEntry.linear(vector, LinearMemory(memory: memory(), special: special))
        }
        isDelivery = false
        retries = 0
    }

    /// Source: SDM volume 2A, 2.1.1; volume 2D, table A-2.
    private static func readsString(_ bytes: UInt64, _ count: Int) -> Bool {
        for place in 0..<min(max(count, 0), 8) {
            switch UInt8(truncatingIfNeeded: bytes >> UInt64(place * 8)) {
            case 0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3, 0x48: continue
            case 0x6E, 0x6F, 0xA4...0xA7, 0xAC...0xAF: return true
            default: return false
            }
        }
        return false
    }

    /// Whether an instruction that does not branch can have led from here to `ip`, which in a 16- or 32-bit segment may
    /// lie over its end.
    func leadsOn(to ip: UInt64) -> Bool {
        let distance = ip &- registers.rip
        return distance <= 15 || distance & 0xFFFF <= 15 || distance & 0xFFFF_FFFF <= 15
    }
}

/// Asked at each step: comparing values of another module costs a call.
extension OpcodeClass {
    var isOrdinary: Bool { if case .ordinary = self { true } else { false } }
    var isHalt: Bool { if case .halt = self { true } else { false } }
}
