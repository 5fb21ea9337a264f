public import KVMCore

/// A target that can make all vCPUs but one stand still for a moment, with no stop that anyone is told of: what is
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
    /// Protects one page, or gives it back where `access` is nil. All vCPUs stand still or are held.
    ///
    /// - Parameter page: its guest-physical address.
    /// - Throws: where the page is no RAM, or no memslot is left; the protection is then as before.
    func protect(page: UInt64, _ access: PageAccess?) throws(KVMError)
    /// Opens all pages for a step that the host cannot do otherwise; the other vCPUs are held.
    func suspendProtection() throws(KVMError)
    /// Protects again what was protected.
    func resumeProtection() throws(KVMError)
}
