public import KVMCore
import X86

/// A target that can stop all vCPUs but one for a moment, with no stop that anyone is told of: what is
/// changed meanwhile, as a patch in code, no vCPU sees half done.
public protocol VCPUHolding: Target {
    /// Returns when no vCPU but `vcpu` is in the guest or can enter it.
    ///
    /// - Parameter vcpu: the one whose controller calls, on its thread; nil on the debugger's thread. A second
    ///   caller waits, and counts as held meanwhile. Between this and ``releaseVCPUs(except:)`` the debugger's
    ///   thread must not call ``Target/withVCPU(_:_:)``.
    func holdVCPUs(except vcpu: Int?)
    func releaseVCPUs(except vcpu: Int?)
}

/// A target in whose code breakpoints may stand as patches: its controllers get the exits that patches make before
/// anything else does.
public protocol CodePatching: VCPUHolding {
    /// ``RunController/claims(_:_:)`` is asked of OUTs, so that one to a private port can be a breakpoint.
    var passesPortWrites: Bool { get }
}

/// A target that takes patches back even if the debugger ends without a word, because another process keeps account
/// of them: it is told of each before it is there.
public protocol PatchKeeping: CodePatching {
    /// Whether it is known which guest-physical address lies where, and not only assumed: a patch would else be planted in
    /// what may be some other memory of the VMM. Where it was assumed so far it is looked at again, for which a guest that
    /// runs is stopped for a moment.
    func knowsMemory() -> Bool
    /// The bytes from `gpa` on, of one page, are about to be overwritten with `patch`, each of them, or what they hide
    /// has changed.
    ///
    /// - Throws: where that cannot be kept account of; the bytes are then left alone.
    func willPatch(_ gpa: UInt64, with patch: UInt8, hiding hidden: [UInt8]) throws
    /// They are the guest's own again.
    func didRestore(_ gpa: UInt64, count: Int)
    /// Called, on the thread that waits for the stop and while all vCPUs are stopped, where a running guest was seen to
    /// have overwritten patches.
    var patchesOverwritten: (() -> Void)? { get set }
}

/// Where an OUT that left the guest stands, if it is a patch in code.
public enum OutPlace {
    /// Guest-physical addresses that the OUT may begin at. RIP stands after it already, or still on it: hosts differ.
    public static func candidates(
        _ registers: SyncedRegisters, memory: any PhysicalMemory
    ) -> [UInt64] {
        let view = LinearMemory(memory: memory, special: registers.special)
        let pc = VCPUSnapshot.pc(registers.general, registers.special)
        return [pc &- 2, pc].compactMap { view.physical(view.cut($0)) }
    }

    /// RIP moved back over the two bytes of an OUT that is done.
    public static func before(_ registers: SyncedRegisters) -> UInt64 {
        let special = registers.special
        let mask: UInt64 =
            special.efer.contains(.lma) && special.cs.attributes.isLong
            ? .max : special.cs.attributes.isBig ? 0xFFFF_FFFF : 0xFFFF
        return (registers.general.rip &- 2) & mask
    }
}

/// What the guest may do with a page of its memory.
public enum PageAccess: UInt8, Sendable, Hashable, Comparable {
    /// Writes arrive at ``RunController/access(_:_:)``; reads and code do not.
    case readOnly
    /// Reads arrive there too, and no code can run there.
    case none

    public static func < (one: PageAccess, other: PageAccess) -> Bool { one.rawValue < other.rawValue }
}

/// A target that can protect single pages of guest memory: KVM_MEM_READONLY, or no memslot at all.
public protocol MemoryProtecting: VCPUHolding {
    /// Protects one page, or gives it back where `access` is nil. All vCPUs are stopped or held.
    ///
    /// - Parameter page: its guest-physical address.
    /// - Throws: where the page is no RAM, or no memslot is left; the protection is then as before.
    func protect(page: UInt64, _ access: PageAccess?) throws(KVMError)
    /// Opens all pages for a step that the host cannot do otherwise; the other vCPUs are held.
    func suspendProtection() throws(KVMError)
    /// Protects again what was protected.
    func resumeProtection() throws(KVMError)
}
