import DebugTarget
import KVMCore
import SystemPackage
import X86

/// How the RAM of a machine is cut into memslots: one a range, and where pages are protected, more.
struct MemorySlots {
    /// Pages in a row that are protected alike.
    struct Segment {
        var range: Range<UInt64>
        var access: PageAccess?
        /// Nil where no slot is, which is how reads are seen.
        var slot: UInt32?
        /// The RAM that it is of.
        var memory: Int
        /// How far below its own address the RAM is that it shows: where A20 is off.
        var shift: UInt64 = 0
        /// The guest's writes leave it, whatever else is asked for.
        var isROM = false

        /// What a slot is made with.
        var isReadOnly: Bool { isROM || access == .readOnly }
    }

    static let pageSize: UInt64 = 4096

    private let memories: [GuestMemory]
    private let rom: Range<UInt64>?
    /// In order of address, without gaps inside one memory.
    private(set) var segments: [Segment] = []
    private var free: [UInt32] = []
    private var next: UInt32
    private let limit: UInt32
    /// All pages are open for a moment: what there is instead of the segments.
    private var opened: [Segment] = []
    private var isSuspended = false

    /// Registers all of it, open but for the ROM.
    ///
    /// - Parameter rom: whole pages.
    init(
        _ memories: [GuestMemory], rom: Range<UInt64>? = nil, vm: borrowing VirtualMachine
    ) throws(KVMError) {
        self.memories = memories
        self.rom = rom
        limit = UInt32(clamping: max(Int(vm.check(.nrMemslots)), memories.count))
        next = 0
        for var segment in open {
            try create(&segment, vm)
            segments.append(segment)
        }
    }

    /// All of it with no page protected, and no slot made.
    private var open: [Segment] {
        memories.enumerated().flatMap { index, memory in
            let inside = rom.map { $0.clamped(to: memory.range) } ?? 0..<0
            guard !inside.isEmpty else {
                return [Segment(range: memory.range, access: nil, slot: nil, memory: index)]
            }
            return [
                memory.range.lowerBound..<inside.lowerBound, inside,
                inside.upperBound..<memory.range.upperBound,
            ].filter { !$0.isEmpty }.map {
                Segment(range: $0, access: nil, slot: nil, memory: index, isROM: $0 == inside)
            }
        }
    }

    /// Protects a page, or gives it back. As it was before where that fails.
    mutating func protect(page: UInt64, _ access: PageAccess?, _ vm: borrowing VirtualMachine)
        throws(KVMError)
    {
        guard let place = place(of: page) else {
            throw KVMError(
                "protect the page at \(hex(page))", .invalidArgument, advice: "no RAM is there")
        }
        let whole = segments[place]
        guard whole.access != access else { return }
        var first = place
        var last = place
        var parts: [Segment] = []
        func add(_ range: Range<UInt64>, _ access: PageAccess?) {
            guard !range.isEmpty else { return }
            if let before = parts.last, before.access == access {
                parts[parts.count - 1].range = before.range.lowerBound..<range.upperBound
            } else {
                parts.append(
                    Segment(
                        range: range, access: access, slot: nil, memory: whole.memory, shift: whole.shift,
                        isROM: whole.isROM))
            }
        }
        let start = page & ~(Self.pageSize - 1)
        let end = start + Self.pageSize
        if start == whole.range.lowerBound, place > 0, isNeighbour(place - 1, whole, access) {
            first = place - 1
            add(segments[first].range, access)
        }
        add(whole.range.lowerBound..<start, whole.access)
        add(start..<end, access)
        add(end..<whole.range.upperBound, whole.access)
        if end == whole.range.upperBound, place + 1 < segments.count, isNeighbour(place + 1, whole, access) {
            last = place + 1
            add(segments[last].range, access)
        }
        try replace(first...last, by: parts, vm)
    }

    /// Whether accesses to it leave the guest.
    func isProtected(_ gpa: UInt64) -> Bool {
        !isSuspended && place(of: gpa).map { segments[$0].access != nil } ?? false
    }

    private func isNeighbour(_ place: Int, _ segment: Segment, _ access: PageAccess?) -> Bool {
        segments[place].memory == segment.memory && segments[place].access == access
            && segments[place].shift == segment.shift && segments[place].isROM == segment.isROM
    }

    // MARK: A20

    /// What wraps where A20 is off: the 64 KiB from 1 MiB on, which real mode reaches.
    static let wrapped: Range<UInt64> = 0x10_0000..<0x11_0000

    /// Makes the first 64 KiB appear at 1 MiB, or what is there again. RAM at both is needed.
    mutating func setWrap(_ isOn: Bool, _ vm: borrowing VirtualMachine) throws(KVMError) {
        let shift: UInt64 = isOn ? Self.wrapped.lowerBound : 0
        guard !isSuspended,
            let first = segments.firstIndex(where: { $0.range.upperBound > Self.wrapped.lowerBound }),
            let last = segments.lastIndex(where: { $0.range.lowerBound < Self.wrapped.upperBound }),
            first <= last
        else { return }
        var parts: [Segment] = []
        for segment in segments[first...last] {
            let inside = segment.range.clamped(to: Self.wrapped)
            for range in [
                segment.range.lowerBound..<inside.lowerBound, inside,
                inside.upperBound..<segment.range.upperBound,
            ] where !range.isEmpty {
                var part = Segment(
                    range: range, access: segment.access, slot: nil, memory: segment.memory,
                    shift: range == inside ? shift : segment.shift, isROM: segment.isROM)
                if let before = parts.last, before.access == part.access, before.memory == part.memory,
                    before.shift == part.shift, before.isROM == part.isROM
                {
                    part.range = before.range.lowerBound..<range.upperBound
                    parts[parts.count - 1] = part
                } else {
                    parts.append(part)
                }
            }
        }
        try replace(first...last, by: parts, vm)
    }

    private mutating func replace(
        _ places: ClosedRange<Int>, by parts: [Segment], _ vm: borrowing VirtualMachine
    ) throws(KVMError) {
        var old = Array(segments[places])
        var new = parts
        do throws(KVMError) {
            for index in old.indices { try remove(&old[index], vm) }
            for index in new.indices { try create(&new[index], vm) }
        } catch {
            // What there was fitted, and fits again.
            for index in new.indices { try? remove(&new[index], vm) }
            for index in old.indices where old[index].slot == nil { try? create(&old[index], vm) }
            segments.replaceSubrange(places, with: old)
            throw error
        }
        segments.replaceSubrange(places, with: new)
    }

    /// Every page as if none were protected; the ROM stays one.
    mutating func suspend(_ vm: borrowing VirtualMachine) throws(KVMError) {
        guard !isSuspended else { return }
        isSuspended = true
        for index in segments.indices {
            var segment = segments[index]
            try remove(&segment, vm)
            segments[index] = segment
        }
        for var segment in open {
            try create(&segment, vm)
            opened.append(segment)
        }
    }

    mutating func resume(_ vm: borrowing VirtualMachine) throws(KVMError) {
        guard isSuspended else { return }
        for var segment in opened { try remove(&segment, vm) }
        opened = []
        for index in segments.indices {
            var segment = segments[index]
            try create(&segment, vm)
            segments[index] = segment
        }
        isSuspended = false
    }

    private func place(of page: UInt64) -> Int? {
        var low = 0
        var high = segments.count
        while low < high {
            let middle = (low + high) / 2
            if segments[middle].range.upperBound <= page { low = middle + 1 } else { high = middle }
        }
        return low < segments.count && segments[low].range.contains(page) ? low : nil
    }

    private mutating func create(_ segment: inout Segment, _ vm: borrowing VirtualMachine) throws(KVMError) {
        guard segment.access != PageAccess.none else { return }
        let slot: UInt32
        if let known = free.popLast() {
            slot = known
        } else {
            guard next < limit else {
                throw KVMError(
                    "KVM_SET_USER_MEMORY_REGION", .noSpace,
                    advice: "all \(limit) memory slots of this KVM are in use")
            }
            slot = next
            next += 1
        }
        let memory = memories[segment.memory]
        do {
            try vm.setMemoryRegion(
                slot: slot, gpa: segment.range.lowerBound, memory: memory,
                offset: segment.range.lowerBound - memory.gpa - segment.shift,
                size: segment.range.upperBound - segment.range.lowerBound,
                flags: segment.isReadOnly ? .readOnly : [])
        } catch {
            free.append(slot)
            throw error
        }
        segment.slot = slot
    }

    private mutating func remove(_ segment: inout Segment, _ vm: borrowing VirtualMachine) throws(KVMError) {
        guard let slot = segment.slot else { return }
        try vm.removeMemoryRegion(slot: slot)
        segment.slot = nil
        free.append(slot)
    }
}
