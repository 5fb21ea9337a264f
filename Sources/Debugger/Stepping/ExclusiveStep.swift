import KVMCore
import Synchronization
import X86

/// One step that no other vCPU may see: the guest's own bytes are back where patches stand, protected pages are open, or
/// an MSR filter is off, and all others are held.
struct ExclusiveStep: Sendable {
    /// The others are held.
    private(set) var isHolding = false
    /// The next step is to be made with all pages open.
    var wantsOpenPages = false
    private var hasOpenPages = false
    /// The next step is to be made with the MSR filter off.
    var wantsNoFilter = false

    let vcpu: Int
    let patching: Patching

    init(vcpu: Int, patching: Patching) {
        self.vcpu = vcpu
        self.patching = patching
    }

    /// Before the step of an instruction.
    ///
    /// - Parameter special: asked for only where patches stand and linear addresses are translated.
    mutating func begin(
        _ place: InstructionAtHand, _ watches: [WatchState],
        special: () throws(KVMError) -> SpecialRegisters
    ) throws(KVMError) {
        if wantsNoFilter {
            hold()
            try patching.msrTrap?.trapMSRWrites(.none)
        }
        if wantsOpenPages { return try openPages(watches) }
        guard !patching.table.isEmpty.load(ordering: .acquiring) else { return }
        // Without paging, and within a page, there is nothing to translate.
        if !place.isPaging, place.pc & 0xFFF <= 0xFF1 {
            lift(place.pc..<place.pc + 15, 0..<0)
            return
        }
        let view = LinearMemory(memory: patching.memory, special: try special())
        guard let first = view.physical(place.pc) else { return }
        let head = first..<first + min(15, 4096 - (first & 0xFFF))
        var tail = UInt64(0)..<0
        if head.count < 15, let second = view.physical(view.cut(place.pc &+ UInt64(head.count))) {
            tail = second..<second + UInt64(15 - head.count)
        }
        lift(head, tail)
    }

    private mutating func lift(_ head: Range<UInt64>, _ tail: Range<UInt64>) {
        let table = patching.table
        guard table.covers(head) || !tail.isEmpty && table.covers(tail) else { return }
        hold()
        _ = table.lift(head)
        if !tail.isEmpty { _ = table.lift(tail) }
    }

    private mutating func hold() {
        guard !isHolding else { return }
        patching.holder?.holdVCPUs(except: vcpu)
        isHolding = true
    }

    private mutating func openPages(_ watches: [WatchState]) throws(KVMError) {
        hold()
        for watch in watches where watch.mechanism == .pageProtection { watch.remember(patching.memory) }
        patching.table.liftAll()
        try patching.protector?.suspendProtection()
        hasOpenPages = true
    }

    /// After it, however it ended.
    ///
    /// - Returns: what the step wrote to watched memory on pages that were open.
    mutating func end(_ watches: [WatchState], trappedMSRs: TrappedMSRs) throws(KVMError) -> [WatchHit] {
        guard isHolding else { return [] }
        var hits: [WatchHit] = []
        patching.table.restore()
        if hasOpenPages {
            hasOpenPages = false
            wantsOpenPages = false
            try patching.protector?.resumeProtection()
            for watch in watches where watch.mechanism == .pageProtection && watch.access != .read {
                if let hit = watch.compare(patching.memory) { hits.append(hit) }
            }
        }
        if wantsNoFilter {
            wantsNoFilter = false
            try patching.msrTrap?.trapMSRWrites(trappedMSRs)
        }
        isHolding = false
        patching.holder?.releaseVCPUs(except: vcpu)
        return hits
    }
}
