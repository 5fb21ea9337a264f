public import DebugTarget
public import X86

/// What differs between two states of one vCPU, to the register and to the flag.
public struct StateChanges: Sendable, Hashable {
    /// Registers by X86's names: `rax`, `rip`, `rflags`, `cs`, `cs.base`, `gdtr.limit`, `cr0`, `cr0.pe`, `cf`.
    /// A segment is named by itself where any part of it changed.
    public private(set) var names: Set<String> = []
    /// The flags that changed.
    public private(set) var flags: RFlags = []

    /// - Parameter old: nil where there is nothing to compare with: then nothing changed.
    public init(from old: VCPUSnapshot?, to new: VCPUSnapshot) {
        guard let old else { return }
        let (before, after) = (Self.file(old), Self.file(new))
        guard before != after else { return }
        for register in RegisterName.all where before[register] != after[register] {
            names.insert(register.name)
        }
        for segment in SegmentName.allCases where old.special[segment] != new.special[segment] {
            names.insert(segment.rawValue)
        }
        flags = old.registers.rflags.symmetricDifference(new.registers.rflags)
    }

    public var isEmpty: Bool { names.isEmpty }

    /// Whether a register changed, by any of its names.
    public func contains(_ name: String) -> Bool {
        if names.contains(name) { return true }
        guard let register = RegisterName(name) else { return false }
        return names.contains(register.name)
    }

    private static func file(_ snapshot: VCPUSnapshot) -> RegisterFile {
        RegisterFile(general: snapshot.registers, special: snapshot.special)
    }
}

extension Debugger {
    /// What changed of a vCPU since the stop before.
    public func changes(vcpu id: Int? = nil) throws(DebuggerError) -> StateChanges {
        let snapshot = try known(id)
        return StateChanges(from: previousStop?[snapshot.id], to: snapshot)
    }
}
