import DebugTarget
import Disassembler
import X86

/// Whether the code at hand was called: what `finish` asks before it lets the guest go for a return that may never come.
extension Debugger {
    /// How far up the stack a return address is looked for, in bytes.
    private static let returnReach = 1024
    /// So far from its beginning a routine, or the handler of an interrupt, is thought to reach.
    private static let routineReach: UInt64 = 0x1_0000
    private static let handlerReach: UInt64 = 0x1000

    /// Whether something on the stack is a return address: after a CALL that leads to the code at hand, after an INT,
    /// or part of what an interrupt pushes. Code and data on the stack look like many things, so what only looks like an
    /// address is not taken for one.
    func seesReturnAddress(_ snapshot: VCPUSnapshot) -> Bool {
        let walker = FrameWalker(snapshot, view(of: snapshot), disassembler)
        let stack = snapshot.registers.rsp & walker.stackMask
        // The frame pointer first: locals may be more than is searched.
        let frame = snapshot.registers.rbp & walker.stackMask
        let slot = frame &+ UInt64(walker.width)
        if frame >= stack, frame - stack < Self.routineReach, returns(at: slot, walker) { return true }
        for distance in stride(from: 0, to: reach(snapshot), by: walker.width)
        where returns(at: (stack &+ UInt64(distance)) & walker.stackMask, walker) {
            return true
        }
        return false
    }

    /// A stack below the code that runs ends there; how far that code reaches down is a guess.
    private func reach(_ snapshot: VCPUSnapshot) -> Int {
        let stack = snapshot.special.linear(.ss, snapshot.registers.rsp, mode: snapshot.mode)
        let code = snapshot.pc & ~0x1FF
        return code >= stack ? Int(min(UInt64(Self.returnReach), code - stack)) : Self.returnReach
    }

    /// Whether the word at an offset of the stack is a return address of the code at hand.
    private func returns(at slot: UInt64, _ walker: FrameWalker) -> Bool {
        let snapshot = walker.snapshot
        guard let caller = walker.caller(at: slot, snapshot.special.cs.selector), caller.ip != 0 else {
            return false
        }
        switch caller.kind {
        case .near, .far: return leadsHere(caller, walker)
        case .interrupt: return isInHandler(of: walker.vector(before: caller), snapshot)
        case .innermost, .unverified: return isInterruptFrame(at: slot, walker)
        }
    }

    /// A CALL says where it leads to, but for those by a register or memory.
    private func leadsHere(_ caller: FrameWalker.Caller, _ walker: FrameWalker) -> Bool {
        let snapshot = walker.snapshot
        let start: UInt64
        switch walker.call(before: caller)?.target {
        case .near(let ip): start = snapshot.special.linear(.cs, ip, mode: snapshot.mode)
        case .far(let place):
            guard let base = walker.base(of: place.selector) else { return false }
            start = base &+ place.offset
        case nil: return true
        }
        return snapshot.pc >= start && snapshot.pc - start < Self.routineReach
    }

    /// IP, CS and RFLAGS as an interrupt or exception pushes them: bit 1 is always set, bits 3, 5 and 15 never. Source: SDM
    /// volume 1, 3.4.3.
    private func isInterruptFrame(at slot: UInt64, _ walker: FrameWalker) -> Bool {
        let width = UInt64(walker.width)
        guard let ip = walker.word(slot), let selector = walker.word(slot &+ width),
            let flags = walker.word(slot &+ 2 &* width), selector <= 0xFFFF,
            flags & 0x802A == 2, flags >> 22 == 0,
            let base = walker.base(of: UInt16(selector)), walker.view.word(base &+ ip, size: 1) != nil
        else { return false }
        return isInHandler(of: nil, walker.snapshot)
    }

    /// Whether the code at hand is the handler of a vector, or of any.
    private func isInHandler(of vector: UInt8?, _ snapshot: VCPUSnapshot) -> Bool {
        let view = view(of: snapshot)
        return (vector.map { $0...$0 } ?? 0...255).contains { vector in
            guard let start = InterruptEntry.linear(vector, view) else { return false }
            return snapshot.pc >= start && snapshot.pc - start < Self.handlerReach
        }
    }
}
