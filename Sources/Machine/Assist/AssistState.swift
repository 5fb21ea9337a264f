import DebugTarget
import KVMCore
import X86

/// Why a helper ends without having done the instruction.
enum AssistFailure: Error, Hashable {
    /// The processor would raise this instead.
    case fault(AssistFault)
    /// It is no instruction of the table's, or needs what is not followed (a task switch, memory of a device).
    case notMine
}

/// An exception that the processor raises. `address` is what CR2 gets, of a page fault.
struct AssistFault: Hashable {
    var vector: UInt8
    var code: UInt32?
    var address: UInt64?

    static let undefined = AssistFault(vector: 6)
    static let notAvailable = AssistFault(vector: 7)
    static func protection(_ code: UInt16) -> AssistFault { AssistFault(vector: 13, code: UInt32(code)) }
    static func notPresent(_ code: UInt16) -> AssistFault { AssistFault(vector: 11, code: UInt32(code)) }
    static func stack(_ code: UInt16) -> AssistFault { AssistFault(vector: 12, code: UInt32(code)) }
    static func taskState(_ code: UInt16) -> AssistFault { AssistFault(vector: 10, code: UInt32(code)) }
}

/// A vCPU and its memory as a helper works on them: registers are a copy, which counts only if the helper succeeds;
/// memory is written at the end of each helper, when nothing can fail any more.
struct AssistState {
    var general: GeneralRegisters
    var special: SpecialRegisters
    let memory: any PhysicalMemory
    /// What the processor has beside its registers; asked where an instruction needs it.
    var processor = Processor()

    /// Instructions that a processor may lack. Source: SDM volume 2A, CPUID.
    enum Ability: CaseIterable {
        /// CLAC and STAC: leaf 7, EBX bit 20.
        case accessControl
        /// CMPXCHG16B: leaf 1, ECX bit 13.
        case compareExchange16
        /// POPCNT: leaf 1, ECX bit 23.
        case countOnes

        static func all(in cpuid: [CPUIDEntry]) -> Set<Ability> {
            let leaf1 = cpuid.first { $0.function == 1 }?.ecx ?? 0
            let leaf7 = cpuid.first { $0.function == 7 && $0.index == 0 }?.ebx ?? 0
            let bits: [(Ability, UInt32)] = [
                (.accessControl, leaf7 >> 20), (.compareExchange16, leaf1 >> 13), (.countOnes, leaf1 >> 23),
            ]
            return Set(bits.filter { $0.1 & 1 == 1 }.map(\.0))
        }
    }

    struct Processor {
        /// The x87 status word; nil where it cannot be read.
        var fpuStatus: () -> UInt16? = { nil }
        var xcr0: () -> UInt64? = { nil }
        /// What CPUID tells the guest.
        var abilities: Set<Ability> = Set(Ability.allCases)
    }

    var mode: CPUMode { CPUMode(general, special) }
    var isLong: Bool { special.efer.contains(.lma) }
    var isVirtual: Bool { mode == .virtual8086 }
    /// Real mode and virtual-8086 mode have no descriptors.
    var hasDescriptors: Bool { special.cr0.contains(.pe) && !isVirtual }
    /// CPL is SS's DPL.
    var cpl: UInt8 {
        guard special.cr0.contains(.pe) else { return 0 }
        return isVirtual ? 3 : special.ss.attributes.privilege
    }

    // MARK: memory

    /// A linear address as the processor cuts it.
    func cut(_ linear: UInt64) -> UInt64 { isLong ? linear : linear & 0xFFFF_FFFF }

    /// One byte's place, if an access to it is allowed; accessed and dirty bits are set as the processor does.
    /// - Parameter privilege: 3 for a user's access, below for a supervisor's.
    private func place(
        _ linear: UInt64, isWrite: Bool, isFetch: Bool, privilege: UInt8
    ) throws(AssistFailure) -> UInt64 {
        guard special.cr0.contains(.pg) else { return linear & 0xFFFF_FFFF }
        let walk = LinearMemory(memory: memory, special: special).walk(linear)
        // P is bit 0, W/R 1, U/S 2, RSVD 3, I/D 4.
        func fault(present: Bool, reserved: Bool = false) -> AssistFailure {
            let code: UInt32 =
                (present ? 1 : 0) | (reserved ? 8 : 0) | (isWrite ? 2 : 0) | (privilege == 3 ? 4 : 0)
                | (isFetch && special.efer.contains(.nxe) ? 16 : 0)
            return .fault(AssistFault(vector: 14, code: code, address: linear))
        }
        guard let mapping = walk.mapping else {
            switch walk.outcome {
            case .nonCanonical: throw .fault(.protection(0))
            case .reservedBits: throw fault(present: true, reserved: true)
            case .unreadable: throw .notMine
            case .notPresent, .mapped: throw fault(present: false)
            }
        }
        let isAllowed =
            (privilege < 3 || mapping.isUser)
            && (!isWrite || mapping.isWritable || privilege < 3 && !special.cr0.contains(.wp))
            && (!isFetch || mapping.isExecutable)
        guard isAllowed else { throw fault(present: true) }
        mark(walk, isWrite)
        return mapping.gpa
    }

    /// Bit 5, accessed, of every entry that was gone through, and bit 6, dirty, of the last.
    private func mark(_ walk: PageWalk, _ isWrite: Bool) {
        let steps = walk.steps
        for (index, step) in steps.enumerated() {
            // A PAE directory pointer has neither.
            if step.level == .directoryPointers, PagingMode(special) == .pae { continue }
            let isLast = index == steps.count - 1
            let marked = step.value | 1 << 5 | (isLast && isWrite ? 1 << 6 : 0)
            if marked != step.value { put(marked, at: step.address, size: step.size) }
        }
    }

    private func put(_ value: UInt64, at gpa: UInt64, size: Int) {
        withUnsafeBytes(of: value.littleEndian) { bytes in
            // The entry was read there.
            try? memory.write(gpa, UnsafeRawBufferPointer(rebasing: bytes.prefix(size)))
        }
    }

    /// Where the bytes of an access are; all of them are checked before any is used.
    private func places(
        _ linear: UInt64, _ size: Int, isWrite: Bool, isFetch: Bool = false, privilege: UInt8
    ) throws(AssistFailure) -> [UInt64] {
        var found: [UInt64] = []
        for offset in 0..<size {
            let address = cut(linear &+ UInt64(offset))
            if offset > 0, address & 0xFFF != 0, let last = found.last {
                found.append(last + 1)
            } else {
                found.append(
                    try place(address, isWrite: isWrite, isFetch: isFetch, privilege: privilege))
            }
        }
        return found
    }

    /// A little-endian number of up to 8 bytes.
    func read(_ linear: UInt64, size: Int, privilege: UInt8? = nil) throws(AssistFailure) -> UInt64 {
        try bytes(places(linear, size, isWrite: false, privilege: privilege ?? cpl))
    }

    /// Also asks whether it could be written, as a read that is written back does.
    func readForWrite(_ linear: UInt64, size: Int) throws(AssistFailure) -> UInt64 {
        try bytes(places(linear, size, isWrite: true, privilege: cpl))
    }

    private func bytes(_ places: [UInt64]) throws(AssistFailure) -> UInt64 {
        var value: UInt64 = 0
        for (index, gpa) in places.enumerated() {
            guard let byte = memory.word(gpa, size: 1) else { throw .notMine }
            value |= byte << UInt64(index * 8)
        }
        return value
    }

    /// A write that is done when the whole instruction can be.
    struct Write {
        fileprivate var places: [UInt64]
        fileprivate var value: UInt64
    }

    func write(
        _ linear: UInt64, _ value: UInt64, size: Int, privilege: UInt8? = nil
    ) throws(AssistFailure) -> Write {
        let places = try places(linear, size, isWrite: true, privilege: privilege ?? cpl)
        for gpa in places { guard memory.word(gpa, size: 1) != nil else { throw .notMine } }
        return Write(places: places, value: value)
    }

    /// Bytes that lie in a row are one access, as a processor makes it.
    func commit(_ writes: [Write]) {
        for write in writes {
            var start = 0
            for index in 1...write.places.count
            where index == write.places.count || write.places[index] != write.places[index - 1] + 1 {
                put(write.value >> UInt64(start * 8), at: write.places[start], size: index - start)
                start = index
            }
        }
    }

    /// Up to 15 bytes of the instruction at hand, as many as can be fetched.
    func code() -> [UInt8] {
        var bytes: [UInt8] = []
        for offset in 0..<15 {
            let ip = general.rip &+ UInt64(offset)
            let linear = cut(mode == .long64 ? ip : special.cs.base &+ (ip & ipMask))
            guard let gpa = try? place(linear, isWrite: false, isFetch: true, privilege: cpl),
                let byte = memory.word(gpa, size: 1)
            else { break }
            bytes.append(UInt8(truncatingIfNeeded: byte))
        }
        return bytes
    }

    var ipMask: UInt64 {
        switch mode.codeWidth(cs: special.cs.attributes) {
        case 16: 0xFFFF
        case 32: 0xFFFF_FFFF
        default: .max
        }
    }

    // MARK: segments

    /// A linear address in a segment, its limit, type and canonical form checked.
    func linear(
        _ segment: SegmentName, _ offset: UInt64, size: Int, isWrite: Bool
    ) throws(AssistFailure) -> UInt64 {
        let fault: AssistFailure = .fault(segment == .ss ? .stack(0) : .protection(0))
        if mode == .long64 {
            let base = segment == .fs || segment == .gs ? special[segment].base : 0
            let address = base &+ offset
            guard isCanonical(address) else { throw fault }
            return address
        }
        let cache = special[segment]
        let attributes = cache.attributes
        if hasDescriptors {
            guard !attributes.isUnusable else { throw fault }
            guard !isWrite || attributes.isWritableData else { throw fault }
            guard isWrite || attributes.isReadable else { throw fault }
        }
        let last = offset &+ UInt64(size - 1)
        // An expand-down data segment has what lies above its limit.
        if attributes.isCodeOrData, attributes.type & 0xC == 4 {
            let top: UInt64 = attributes.isBig ? 0xFFFF_FFFF : 0xFFFF
            guard offset > UInt64(cache.limit), last <= top else { throw fault }
        } else {
            guard last <= UInt64(cache.limit), last >= offset else { throw fault }
        }
        return cut(cache.base &+ offset)
    }

    func isCanonical(_ address: UInt64) -> Bool {
        let shift: UInt64 = special.cr4.contains(.la57) ? 7 : 16
        return UInt64(bitPattern: Int64(bitPattern: address << shift) >> Int64(shift)) == address
    }

    /// The stack pointer's bits that count.
    func stackMask(_ segment: Segment) -> UInt64 {
        mode == .long64 ? .max : segment.attributes.isBig ? 0xFFFF_FFFF : 0xFFFF
    }

    /// The descriptor that a selector names; nil where the tables do not have it.
    func descriptor(_ selector: UInt16) throws(AssistFailure) -> UInt64? {
        let isLocal = selector & 4 != 0
        if isLocal, special.ldt.attributes.isUnusable || special.ldt.selector & ~3 == 0 { return nil }
        let base = isLocal ? special.ldt.base : special.gdt.base
        let limit = isLocal ? UInt64(special.ldt.limit) : UInt64(special.gdt.limit)
        let offset = UInt64(selector & ~7)
        guard offset + 7 <= limit else { return nil }
        // Tables are read as the supervisor reads.
        return try read(cut(base &+ offset), size: 8, privilege: 0)
    }

    /// Sets a code or data descriptor's accessed bit in memory.
    func markAccessed(_ selector: UInt16, _ low: UInt64) throws(AssistFailure) -> [Write] {
        guard low >> 40 & 1 == 0 else { return [] }
        let base = selector & 4 != 0 ? special.ldt.base : special.gdt.base
        let byte = low >> 40 & 0xFF | 1
        return [try write(cut(base &+ UInt64(selector & ~7) &+ 5), byte, size: 1, privilege: 0)]
    }
}

extension SegmentAttributes {
    var isConforming: Bool { isCodeOrData && type & 0xC == 0xC }
}
