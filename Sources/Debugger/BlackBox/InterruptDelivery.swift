import DebugTarget
import X86

/// How the processor gets to the handler of an interrupt or exception: what it reads, checks and pushes, on a vCPU's
/// state and memory. Nothing is changed.
///
/// Source: SDM volume 3A, 6.12 to 6.14 and 21.1.4; volume 2, INT n.
struct InterruptDelivery {
    let registers: GeneralRegisters
    let view: LinearMemory

    /// Where the processor stands when it is there.
    struct Arrival: Hashable {
        /// Linear, of the handler's first instruction.
        var linear: UInt64
        /// Linear, of the return address on the stack.
        var frame: UInt64
        /// The bytes of a slot there: IP, CS, FLAGS.
        var width: Int
    }

    enum Outcome: Hashable {
        case arrives(Arrival)
        case faults(FaultChain.Link)
        case taskGate(selector: UInt16)
        case unreadable(gpa: UInt64)
    }

    var special: SpecialRegisters { view.special }
    var isLong: Bool { special.efer.contains(.lma) }
    var isVirtual: Bool { !isLong && special.cr0.contains(.pe) && registers.rflags.contains(.vm) }
    /// CPL is SS's DPL.
    var cpl: UInt8 { isVirtual ? 3 : special.ss.attributes.privilege }

    /// - Parameters:
    ///   - errorCode: pushed, where it is not nil, in protected mode.
    ///   - isSoftware: by INT n, INT3 or INTO.
    func deliver(_ vector: UInt8, errorCode: UInt32?, isSoftware: Bool) -> Outcome {
        guard special.cr0.contains(.pe) else { return deliverReal(vector) }
        let external: UInt32 = isSoftware ? 0 : 1
        let own = UInt32(vector) << 3 | 2 | external
        let size: UInt64 = isLong ? 16 : 8
        let offset = UInt64(vector) * size
        guard offset + size - 1 <= UInt64(special.idt.limit) else {
            return fault(13, own, .tableLimit(entryEnd: offset + size - 1, limit: special.idt.limit))
        }
        let place = view.cut(special.idt.base &+ offset)
        let low: UInt64
        switch table(.idt, place, 8) {
        case .value(let value): low = value
        case .outcome(let outcome): return outcome
        }
        let attributes = SegmentAttributes(rawValue: UInt32(truncatingIfNeeded: low >> 40 & 0xFF))
        let type = attributes.type
        let types: [UInt8] = isLong ? [14, 15] : [5, 6, 7, 14, 15]
        guard !attributes.isCodeOrData, types.contains(type) else {
            return fault(13, own, .gateType(type, isCodeOrData: attributes.isCodeOrData))
        }
        if isSoftware, attributes.privilege < cpl {
            return fault(13, own, .gatePrivilege(dpl: attributes.privilege, cpl: cpl))
        }
        guard attributes.isPresent else { return fault(11, own, .gateNotPresent) }
        let selector = UInt16(truncatingIfNeeded: low >> 16)
        if type == 5 { return taskGate(selector, external) }
        var handler = low & 0xFFFF
        if type & 8 != 0 { handler |= low >> 32 & 0xFFFF_0000 }
        if isLong {
            switch table(.idt, place &+ 8, 8) {
            case .value(let high): handler |= high << 32
            case .outcome(let outcome): return outcome
            }
        }
        let gate = Gate(
            handler: handler, width: isLong ? 8 : type & 8 != 0 ? 4 : 2,
            stack: isLong ? UInt8(truncatingIfNeeded: low >> 32 & 7) : 0,
            hasErrorCode: errorCode != nil)
        return enter(gate, selector, external)
    }

    struct Gate {
        var handler: UInt64
        /// The bytes of a slot on the stack.
        var width: Int
        /// IST.
        var stack: UInt8
        var hasErrorCode: Bool
    }

    private func deliverReal(_ vector: UInt8) -> Outcome {
        let offset = UInt64(vector) * 4
        guard offset + 3 <= UInt64(special.idt.limit) else {
            return fault(13, nil, .tableLimit(entryEnd: offset + 3, limit: special.idt.limit))
        }
        let place = special.idt.base &+ offset
        guard let pointer = view.word(place, size: 4) else { return .unreadable(gpa: place) }
        // Three words are pushed. A word at offset 0xFFFF does not fit below the limit.
        let top = registers.rsp & 0xFFFF
        if [1, 3, 5].contains(top) {
            return fault(12, nil, .stackLimit(pointer: top, limit: special.ss.limit))
        }
        let frame = special.ss.base &+ (top &- 6) & 0xFFFF
        return .arrives(
            Arrival(linear: (pointer >> 16) << 4 &+ pointer & 0xFFFF, frame: frame, width: 2))
    }

    // MARK: what is read

    enum Read {
        case value(UInt64)
        case outcome(Outcome)
    }

    /// Reads a table as the processor does, with supervisor's rights.
    func table(_ name: FaultCause.Table, _ linear: UInt64, _ size: Int) -> Read {
        for place in [linear, view.cut(linear &+ UInt64(size - 1))] {
            let walk = view.walk(place)
            if case .unreadable(_, let gpa) = walk.outcome { return .outcome(.unreadable(gpa: gpa)) }
            guard walk.gpa == nil else { continue }
            return .outcome(
                fault(14, Self.pageError(walk, isWrite: false, isUser: false), .tablePage(name, walk)))
        }
        if let value = view.word(linear, size: size) { return .value(value) }
        return .outcome(.unreadable(gpa: view.physical(linear) ?? linear))
    }

    func fault(_ vector: UInt8, _ errorCode: UInt32?, _ cause: FaultCause) -> Outcome {
        .faults(FaultChain.Link(vector: vector, errorCode: errorCode, cause: cause))
    }

    /// #PF's error code: P, W/R, U/S, RSVD. Source: SDM volume 3A, 4.7.
    static func pageError(_ walk: PageWalk, isWrite: Bool, isUser: Bool, isFetch: Bool = false) -> UInt32 {
        var code: UInt32 = (isWrite ? 2 : 0) | (isUser ? 4 : 0) | (isFetch ? 16 : 0)
        switch walk.outcome {
        case .mapped: code |= 1
        case .reservedBits: code |= 9
        case .notPresent, .nonCanonical, .unreadable: break
        }
        return code
    }
}
