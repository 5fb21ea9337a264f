import X86

/// A stack as an instruction uses it: pops move a copy of the pointer, pushes are written at the end.
struct AssistStack {
    var segment: Segment
    var pointer: UInt64
    /// Of each slot, in bytes.
    let width: Int
    /// The privilege by which its pages are reached.
    let privilege: UInt8
    /// What a push beyond the limit raises with: 0, or the selector of a stack that is new.
    var errorCode: UInt16 = 0
    private(set) var writes: [AssistState.Write] = []

    init(_ segment: Segment, _ pointer: UInt64, width: Int, privilege: UInt8) {
        self.segment = segment
        self.pointer = pointer
        self.width = width
        self.privilege = privilege
    }

    /// The stack at hand.
    init(_ state: AssistState, width: Int) {
        self.init(state.special.ss, state.general.rsp, width: width, privilege: state.cpl)
    }

    private func mask(_ state: AssistState) -> UInt64 { state.stackMask(segment) }

    private func linear(_ state: AssistState, _ offset: UInt64) throws(AssistFailure) -> UInt64 {
        var probe = state
        probe.special.ss = segment
        do throws(AssistFailure) {
            return try probe.linear(.ss, offset, size: width, isWrite: true)
        } catch {
            guard case .fault = error else { throw error }
            throw .fault(.stack(errorCode))
        }
    }

    mutating func pop(_ state: AssistState) throws(AssistFailure) -> UInt64 {
        let offset = pointer & mask(state)
        let value = try state.read(linear(state, offset), size: width, privilege: privilege)
        move(state, by: UInt64(width))
        return value
    }

    /// Goes over bytes that a caller left there.
    mutating func move(_ state: AssistState, by count: UInt64) {
        let mask = mask(state)
        pointer = pointer & ~mask | (pointer &+ count) & mask
    }

    mutating func push(_ state: AssistState, _ value: UInt64) throws(AssistFailure) {
        move(state, by: 0 &- UInt64(width))
        writes.append(
            try state.write(linear(state, pointer & mask(state)), value, size: width, privilege: privilege))
    }
}
