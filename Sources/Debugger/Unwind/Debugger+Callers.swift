import DebugTarget
import Disassembler
import X86

/// Whether the code at hand was called: what `finish` asks before it lets the guest go for a return that may never come.
extension Debugger {
    /// How far up the stack a return address is looked for, in bytes.
    private static let returnReach = 1024

    /// Whether something on the stack is a return address: after a CALL that leads to the code at hand, after an INT,
    /// or part of what an interrupt pushes. Code and data on the stack look like many things, so what only looks like an
    /// address is not taken for one.
    func seesReturnAddress(_ snapshot: VCPUSnapshot) -> Bool {
        let walker = FrameWalker(snapshot, view(of: snapshot), disassembler)
        let stack = snapshot.registers.rsp & walker.stackMask
        // The frame pointer first: locals may be more than is searched.
        let frame = snapshot.registers.rbp & walker.stackMask
        let slot = frame &+ UInt64(walker.width)
        if frame >= stack, frame - stack < FrameWalker.routineReach, returns(at: slot, walker) { return true }
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
        case .near, .far: return walker.leads(caller, to: snapshot.pc)
        case .interrupt: return walker.isInHandler(of: walker.vector(before: caller), snapshot.pc)
        case .innermost, .unverified: return walker.interrupted(at: slot, snapshot.pc) != nil
        }
    }
}

extension FrameWalker {
    /// So far from its beginning a routine, or the handler of an interrupt, is thought to reach.
    static let routineReach: UInt64 = 0x1_0000
    private static let handlerReach: UInt64 = 0x1000

    /// Where the CALL that a caller was found by leads to; nil where it goes by a register or memory.
    func start(of caller: Caller) -> UInt64? {
        switch call(before: caller)?.target {
        case .near(let ip): base(of: caller.selector).map { view.cut($0 &+ ip) }
        case .far(let place): base(of: place.selector).map { view.cut($0 &+ place.offset) }
        case nil: nil
        }
    }

    /// Whether a caller's CALL leads to the code at `pc`, as far as it says where it leads to.
    func leads(_ caller: Caller, to pc: UInt64) -> Bool {
        guard let start = start(of: caller) else { return call(before: caller)?.target == nil }
        return pc >= start && pc - start < Self.routineReach
    }

    /// The interrupted code, where the words from `slot` on are IP, CS and RFLAGS as an interrupt or exception pushes
    /// them, and `pc` is in a handler: bit 1 of RFLAGS is always set, bits 3, 5 and 15 never. Source: SDM volume 1, 3.4.3.
    func interrupted(at slot: UInt64, _ pc: UInt64) -> Caller? {
        let width = UInt64(width)
        guard let ip = word(slot),
            let selector = word((slot &+ width) & stackMask).flatMap(UInt16.init(exactly:)),
            let flags = word((slot &+ 2 &* width) & stackMask), flags & 0x802A == 2, flags >> 22 == 0,
            let base = base(of: selector), case let linear = view.cut(base &+ ip),
            view.word(linear, size: 1) != nil, isInHandler(of: nil, pc)
        else { return nil }
        return Caller(kind: .interrupt, selector: selector, ip: ip, linear: linear)
    }

    /// Whether `pc` is in the handler of a vector, or of any.
    func isInHandler(of vector: UInt8?, _ pc: UInt64) -> Bool {
        (vector.map { $0...$0 } ?? 0...255).contains { vector in
            guard let start = InterruptEntry.linear(vector, view) else { return false }
            return pc >= start && pc - start < Self.handlerReach
        }
    }
}
