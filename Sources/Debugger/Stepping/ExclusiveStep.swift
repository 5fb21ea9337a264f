import DebugTarget
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

    /// What the step that is over was made with.
    private var last = (openPages: false, noFilter: false)

    /// Where handlers are patched for this step, and where they were for the last.
    private var planted: [UInt64] = []
    private var plantedLast: [UInt64] = []

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
        last = (false, false)
        if wantsNoFilter {
            hold()
            try patching.msrTrap?.trapMSRWrites(.none)
        }
        if wantsOpenPages { return try openPages(watches) }
        plantedLast = []
        let handlers = place.unarmedHandlers
        guard !patching.table.isEmpty.load(ordering: .acquiring) || !handlers.isEmpty else { return }
        if place.isDelivery { return plant(handlers, place, try special(), []) }
        if place.readsString { try liftRead(place, special) }
        // Without paging, and within a page, there is nothing to translate.
        if !place.isPaging, place.pc & 0xFFF <= 0xFF1 {
            lift(place.pc..<place.pc + 15, 0..<0)
            if !handlers.isEmpty { plant(handlers, place, try special(), [place.pc..<place.pc + 15]) }
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
        if !handlers.isEmpty { plant(handlers, place, view.special, [head, tail]) }
    }

    /// Patches handlers that the step may lead to, but for what belongs to the instruction itself, or to the tables by
    /// which the processor comes to them.
    private mutating func plant(
        _ handlers: [UInt64], _ place: InstructionAtHand, _ special: SpecialRegisters,
        _ own: [Range<UInt64>]
    ) {
        guard let kind = patching.patchKind(in: place.context.kernel) else { return }
        let view = LinearMemory(memory: patching.memory, special: special)
        for handler in handlers where !isTable(handler, kind.length, place, special) {
            guard let gpa = view.physical(view.cut(handler)), patching.table.fits(kind, at: gpa),
                !own.contains(where: { $0.overlaps(gpa..<gpa + UInt64(kind.length)) })
            else { continue }
            hold()
            if patching.table.insert(kind, at: gpa) { planted.append(gpa) }
        }
    }

    /// A patch there would change what the processor reads on its way to a handler. Of the vectors of real mode only
    /// those count that the instruction can lead to: an empty vector leads to the table's own first entry.
    private func isTable(
        _ linear: UInt64, _ length: Int, _ place: InstructionAtHand, _ special: SpecialRegisters
    ) -> Bool {
        let patch = linear..<linear &+ UInt64(length)
        func overlaps(_ base: UInt64, _ size: UInt64) -> Bool {
            patch.lowerBound < base &+ size && base < patch.upperBound
        }
        guard special.cr0.contains(.pe) else {
            var vectors = place.faults.vectors(place.registers, special)
            if case .softwareInterrupt(let vector) = place.opcode { vectors.append(vector) }
            if place.isDelivery { vectors.append(1) }
            return vectors.contains { overlaps(special.idt.base &+ UInt64($0) * 4, 4) }
        }
        return overlaps(special.idt.base, UInt64(special.idt.limit) + 1)
            || overlaps(special.gdt.base, UInt64(special.gdt.limit) + 1)
    }

    /// The step that is over had a patch there.
    func wasPlanted(_ gpa: UInt64) -> Bool { plantedLast.contains(gpa) }

    /// Nothing of the step was done: the next one is made as it was.
    mutating func again() { (wantsOpenPages, wantsNoFilter) = last }

    private mutating func lift(_ head: Range<UInt64>, _ tail: Range<UInt64>) {
        let table = patching.table
        guard table.covers(head) || !tail.isEmpty && table.covers(tail) else { return }
        hold()
        _ = table.lift(head)
        if !tail.isEmpty { _ = table.lift(tail) }
    }

    /// A string instruction reads the guest's own bytes where it is stepped: a copy of code, or a checksum.
    private mutating func liftRead(
        _ place: InstructionAtHand, _ special: () throws(KVMError) -> SpecialRegisters
    ) throws(KVMError) {
        let special = try special()
        let view = LinearMemory(memory: patching.memory, special: special)
        let snapshot = VCPUSnapshot(
            id: vcpu, registers: place.registers, special: special, activity: .stopped)
        guard let instruction = Debugger.decodeNext(snapshot, view) else { return }
        for range in ReadForecast.ranges(of: instruction, place.registers, view)
        where patching.table.covers(range) {
            hold()
            _ = patching.table.lift(range)
        }
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
        last = (hasOpenPages, wantsNoFilter)
        var hits: [WatchHit] = []
        for gpa in planted { patching.table.remove(gpa) }
        plantedLast = planted
        planted = []
        patching.table.restore()
        if hasOpenPages {
            hasOpenPages = false
            wantsOpenPages = false
            try patching.protector?.resumeProtection()
            for watch in watches where watch.mechanism == .pageProtection && watch.access != .read {
                if let hit = watch.judge(patching.memory) { hits.append(hit) }
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
