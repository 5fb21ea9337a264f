import DebugTarget
import Disassembler
import X86

/// The calls that led to where a vCPU stands, as far as frame pointers tell.
public struct Backtrace: Sendable, Hashable {
    public struct Frame: Sendable, Hashable {
        /// How sure it is.
        public enum Kind: String, Sendable, Hashable {
            /// Where the vCPU stands.
            case innermost
            /// A near call stands before the return address.
            case near
            /// A far call stands before it.
            case far
            /// An INT stands before it, or it is what an interrupt or exception has pushed.
            case interrupt
            /// No call stands before the return address: of no frame that is shown.
            case unverified
        }

        public var kind: Kind
        public var selector: UInt16
        /// The return address; of the innermost frame the next instruction.
        public var ip: UInt64
        public var linear: UInt64
        /// The stack pointer that points to the frame's saved frame pointer.
        public var framePointer: UInt64
    }

    public var frames: [Frame]
    /// Why there are no more, in words for people; nil where the limit was reached.
    public var end: String?
    /// In bytes: 2, 4 or 8.
    public var width: Int
}

extension Debugger {
    /// Follows the chain of saved frame pointers from BP, EBP or RBP. It ends where the next one does not lie above
    /// the one before, so that no chain is endless.
    public func backtrace(limit: Int, vcpu id: Int? = nil) throws(DebuggerError) -> Backtrace {
        let snapshot = try known(id)
        var walker = FrameWalker(snapshot, view(of: snapshot), disassembler)
        return walker.walk(limit: min(max(limit, 1), 1 << 16))
    }
}

/// Goes from frame to frame.
struct FrameWalker {
    let snapshot: VCPUSnapshot
    let view: LinearMemory
    let disassembler: Disassembler
    /// Of code, in bytes: what a near call pushes.
    let width: Int
    /// Bits of a stack pointer.
    let stackMask: UInt64
    var frames: [Backtrace.Frame]

    init(_ snapshot: VCPUSnapshot, _ view: LinearMemory, _ disassembler: Disassembler) {
        self.snapshot = snapshot
        self.view = view
        self.disassembler = disassembler
        width = snapshot.mode.codeWidth(cs: snapshot.special.cs.attributes) / 8
        let stack = snapshot.mode.stackWidth(ss: snapshot.special.ss.attributes)
        stackMask = stack == 8 ? .max : (1 << UInt64(stack * 8)) - 1
        frames = [
            .init(
                kind: .innermost, selector: snapshot.special.cs.selector, ip: snapshot.registers.rip,
                linear: snapshot.pc, framePointer: snapshot.registers.rbp & stackMask)
        ]
    }

    mutating func walk(limit: Int) -> Backtrace {
        let end = follow(limit: limit)
        return Backtrace(frames: frames, end: end, width: width)
    }

    private mutating func follow(limit: Int) -> String? {
        var selector = snapshot.special.cs.selector
        var base = snapshot.registers.rbp & stackMask
        if let entry = entry(), frames.count < limit {
            guard let caller = verified(at: entry.slot, selector) else { return failure(at: entry.slot) }
            add(caller, base)
            selector = caller.selector
            if let saved = entry.saved { base = saved }
        }
        while frames.count < limit {
            if base == 0 { return "the frame pointer is 0: the outermost frame" }
            guard let saved = word(base) else { return "the frame at \(hex(base)) cannot be read" }
            let slot = (base &+ UInt64(width)) & stackMask
            guard let caller = verified(at: slot, selector) else { return failure(at: slot) }
            add(caller, base)
            selector = caller.selector
            let next = saved & stackMask
            if next == 0 {
                base = 0
                continue
            }
            guard next > base else {
                return
                    "the saved frame pointer \(hex(next)) does not lie above \(hex(base)): no frame, or a loop"
            }
            base = next
        }
        return nil
    }

    private mutating func add(_ caller: Caller, _ framePointer: UInt64) {
        frames.append(
            .init(
                kind: caller.kind, selector: caller.selector, ip: caller.ip, linear: caller.linear,
                framePointer: framePointer))
    }

    /// The caller that the words from `slot` on tell of, where a CALL, an INT or an interrupt leads from there.
    private func verified(at slot: UInt64, _ selector: UInt16) -> Caller? {
        guard let caller = caller(at: slot, selector) else { return nil }
        if caller.kind != .unverified { return caller }
        return frames.last.flatMap { interrupted(at: slot, $0.linear) }
    }

    /// Why the words from `slot` on are no frame's.
    private func failure(at slot: UInt64) -> String {
        guard let ip = word(slot) else { return "the return address at \(hex(slot)) cannot be read" }
        if ip == 0 { return "the return address is 0: the outermost frame" }
        return
            "no CALL leads from \(hex(ip)), the word at \(hex(slot)): the outermost frame, or BP is no frame pointer"
    }

    /// The innermost function has not made its frame yet, or has taken it down: where its return address is.
    private func entry() -> (slot: UInt64, saved: UInt64?)? {
        let code = view.read(snapshot.pc, count: Instruction.maximumLength, .linear(snapshot.pc)).leading
        guard let first = code.first else { return nil }
        let stack = snapshot.registers.rsp & stackMask
        // The CALL that the word on top returns to leads right here.
        if let caller = caller(at: stack, snapshot.special.cs.selector),
            caller.kind == .near || caller.kind == .far,
            start(of: caller) == snapshot.pc
        {
            return (stack, nil)
        }
        switch first {
        // PUSH BP; RET, RET n, RETF, RETF n, IRET.
        case 0x55, 0xC3, 0xC2, 0xCB, 0xCA, 0xCF: return (stack, nil)
        // ENDBR64 and ENDBR32 stand before the PUSH.
        case 0xF3 where code.prefix(3).elementsEqual([0xF3, 0x0F, 0x1E]): return (stack, nil)
        default: break
        }
        // MOV BP, SP after a PUSH BP.
        let rex = snapshot.mode == .long64 && first == 0x48 ? 1 : 0
        let move = code.dropFirst(rex).prefix(2)
        guard move.elementsEqual([0x89, 0xE5]) || move.elementsEqual([0x8B, 0xEC]),
            view.word(view.cut(snapshot.pc &- 1), size: 1) == 0x55
        else { return nil }
        return ((stack &+ UInt64(width)) & stackMask, word(stack))
    }

    struct Caller {
        var kind: Backtrace.Frame.Kind
        var selector: UInt16
        var ip: UInt64
        var linear: UInt64
    }

    /// What the words of the stack from `slot` on say of the caller: near, far or interrupted.
    func caller(at slot: UInt64, _ selector: UInt16) -> Caller? {
        guard let ip = word(slot) else { return nil }
        let near = base(of: selector).map { view.cut($0 &+ ip) } ?? ip
        if isCall(before: near, ip, far: false) {
            return Caller(kind: .near, selector: selector, ip: ip, linear: near)
        }
        if let pushed = word((slot &+ UInt64(width)) & stackMask) {
            let other = UInt16(truncatingIfNeeded: pushed)
            if other != 0 || snapshot.mode == .real, let base = base(of: other) {
                let linear = view.cut(base &+ ip)
                if isCall(before: linear, ip, far: true) {
                    return Caller(kind: .far, selector: other, ip: ip, linear: linear)
                }
                if isInterrupt(before: linear, ip) {
                    return Caller(kind: .interrupt, selector: other, ip: ip, linear: linear)
                }
            }
        }
        return Caller(kind: .unverified, selector: selector, ip: ip, linear: near)
    }

    /// Whether the next instruction is where a CALL or INT would return to.
    var standsBehindCall: Bool {
        instruction(before: snapshot.pc, snapshot.registers.rip) {
            $0.contains(.call) || $0.contains(.interrupt)
        } != nil
    }

    private func isCall(before linear: UInt64, _ ip: UInt64, far: Bool) -> Bool {
        instruction(before: linear, ip) { $0.contains(.call) && $0.contains(.far) == far } != nil
    }

    private func isInterrupt(before linear: UInt64, _ ip: UInt64) -> Bool {
        instruction(before: linear, ip) { $0.contains(.interrupt) } != nil
    }

    /// The CALL that a near or far caller was found by.
    func call(before caller: Caller) -> Instruction? {
        instruction(before: caller.linear, caller.ip) { traits in
            traits.contains(.call) && traits.contains(.far) == (caller.kind == .far)
        }
    }

    /// The vector of the INT that an interrupted caller was found by.
    func vector(before caller: Caller) -> UInt8? {
        instruction(before: caller.linear, caller.ip) { $0.contains(.interrupt) }?.interruptVector
    }

    /// The instruction of that kind that ends where `linear` begins: a direct one, which nearly all are, before those
    /// through a register or memory.
    private func instruction(
        before linear: UInt64, _ ip: UInt64, _ matches: (InstructionTraits) -> Bool
    ) -> Instruction? {
        let mode = DecodeMode(snapshot.mode, cs: snapshot.special.cs.attributes)
        // The longest call is one through memory with a prefix, an SIB byte and a displacement of four bytes.
        let direct = mode.width == 16 ? 3 : 5
        for length in [direct] + (1...9).filter({ $0 != direct }) where ip >= UInt64(length) {
            let code = view.read(view.cut(linear &- UInt64(length)), count: length, .linear(linear))
            guard code.isComplete else { continue }
            let instruction = disassembler.decode(
                code.bytes, at: ip &- UInt64(length), mode, formatted: false)
            if instruction.validity == .valid, instruction.length == length, matches(instruction.traits) {
                return instruction
            }
        }
        return nil
    }

    /// A word of the stack.
    func word(_ offset: UInt64) -> UInt64? {
        view.word(snapshot.special.linear(.ss, offset & stackMask, mode: snapshot.mode), size: width)
    }

    /// The base of a code segment; nil where the selector names none.
    func base(of selector: UInt16) -> UInt64? {
        if selector == snapshot.special.cs.selector {
            return snapshot.mode == .long64 ? 0 : snapshot.special.cs.base
        }
        switch snapshot.mode {
        case .real, .virtual8086: return UInt64(selector) << 4
        case .long64: return 0
        case .protected16, .protected32, .compatibility16, .compatibility32:
            let file = RegisterFile(general: snapshot.registers, special: snapshot.special)
            guard let place = try? file.descriptorAddress(of: selector), let low = view.word(place, size: 8)
            else { return nil }
            let segment = Segment(
                loading: low, selector: selector, inLongMode: snapshot.special.efer.contains(.lma))
            return segment.attributes.isCode ? segment.base : nil
        }
    }
}
