import X86

/// The checks of code and stack segments that far transfers load.
///
/// Source: SDM volume 2, IRET, RET and INT n; volume 3A, 5.5 to 5.8.
extension Assist {
    /// A segment register's new cache, with the bytes of its descriptor's accessed bit to be written.
    struct Loaded {
        var segment: Segment
        var writes: [AssistState.Write]
    }

    /// The code segment that a far return goes to. `selector`'s RPL is the privilege of what is returned to.
    static func returnCode(_ state: AssistState, _ selector: UInt16) throws(AssistFailure) -> Loaded {
        guard selector & ~3 != 0 else { throw .fault(.protection(0)) }
        guard let low = try state.descriptor(selector) else { throw .fault(.protection(selector & ~3)) }
        let segment = Segment(loading: low, selector: selector, inLongMode: state.isLong)
        let attributes = segment.attributes
        let rpl = UInt8(selector & 3)
        guard attributes.isCode, rpl >= state.cpl,
            attributes.isConforming ? attributes.privilege <= rpl : attributes.privilege == rpl,
            !(state.isLong && attributes.isLong && attributes.isBig)
        else { throw .fault(.protection(selector & ~3)) }
        guard attributes.isPresent else { throw .fault(.notPresent(selector & ~3)) }
        return Loaded(segment: accessed(segment), writes: try state.markAccessed(selector, low))
    }

    /// The stack segment of a return to another privilege.
    /// - Parameter toLong: the code that is returned to is 64-bit, where a null selector is allowed below CPL 3.
    static func returnStack(
        _ state: AssistState, _ selector: UInt16, privilege: UInt8, toLong: Bool
    ) throws(AssistFailure) -> Loaded {
        if selector & ~3 == 0 {
            guard toLong, privilege != 3, UInt8(selector & 3) == privilege else {
                throw .fault(.protection(0))
            }
            return Loaded(segment: nullStack(selector, privilege), writes: [])
        }
        guard let low = try state.descriptor(selector) else { throw .fault(.protection(selector & ~3)) }
        let segment = Segment(loading: low, selector: selector, inLongMode: state.isLong)
        let attributes = segment.attributes
        guard UInt8(selector & 3) == privilege, attributes.isWritableData, attributes.privilege == privilege
        else {
            throw .fault(.protection(selector & ~3))
        }
        guard attributes.isPresent else { throw .fault(.stack(selector & ~3)) }
        return Loaded(segment: accessed(segment), writes: try state.markAccessed(selector, low))
    }

    /// SS as a null selector leaves it in 64-bit mode: flat, its DPL the CPL, by which KVM goes.
    static func nullStack(_ selector: UInt16, _ privilege: UInt8) -> Segment {
        var attributes = SegmentAttributes(rawValue: 0xC093)
        attributes.privilege = privilege
        attributes.isUnusable = true
        return Segment(base: 0, limit: 0xFFFF_FFFF, selector: selector, attributes: attributes)
    }

    private static func accessed(_ segment: Segment) -> Segment {
        var segment = segment
        segment.attributes.type |= 1
        return segment
    }

    /// After a return to less privilege: data segments that the new code may not use become null.
    static func dropData(_ special: inout SpecialRegisters, privilege: UInt8) {
        for name in [SegmentName.es, .fs, .gs, .ds] {
            let attributes = special[name].attributes
            guard !attributes.isUnusable, attributes.privilege < privilege,
                !attributes.isConforming
            else { continue }
            special[name] = Segment(
                base: 0, limit: 0, selector: 0, attributes: SegmentAttributes(rawValue: 1 << 16))
        }
    }

    /// Whether code can go on at an offset of a segment.
    static func checkTarget(
        _ state: AssistState, _ offset: UInt64, _ segment: Segment
    ) throws(AssistFailure) {
        if state.isLong, segment.attributes.isLong {
            guard state.isCanonical(offset) else { throw .fault(.protection(0)) }
        } else {
            guard offset <= UInt64(segment.limit) else { throw .fault(.protection(0)) }
        }
    }
}
