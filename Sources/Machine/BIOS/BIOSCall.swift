import DebugTarget
import KVMCore
import X86

/// One call as a service sees it: the guest's registers, its memory, and what the service makes of both.
struct BIOSCall {
    /// How the guest goes on.
    enum Ending: Sendable, Hashable {
        /// The stub's IRET returns to the caller.
        case returns
        /// The stub is entered again after the next interrupt, or at once, with interrupts on.
        case waits(halting: Bool)
        /// Registers say where.
        case jumps
        /// The guest asks for a reset.
        case resets
    }

    var general: GeneralRegisters
    var special: SpecialRegisters
    let memory: BIOSMemory
    var ending = Ending.returns
    /// CF and ZF of the caller; nil leaves them.
    var carry: Bool?
    var zero: Bool?
    var isKnown = true
    var transfer: FirmwareCall.Transfer?

    init(_ general: GeneralRegisters, _ special: SpecialRegisters, _ memory: BIOSMemory) {
        self.general = general
        self.special = special
        self.memory = memory
    }

    /// The function does not exist: CF, and AH as most of INT 15h have it.
    mutating func refuse(_ status: UInt8? = nil) {
        isKnown = false
        carry = true
        if let status { ah = status }
    }

    // MARK: registers

    var ax: UInt16 {
        get { UInt16(truncatingIfNeeded: general.rax) }
        set { Self.set(&general.rax, newValue) }
    }
    var bx: UInt16 {
        get { UInt16(truncatingIfNeeded: general.rbx) }
        set { Self.set(&general.rbx, newValue) }
    }
    var cx: UInt16 {
        get { UInt16(truncatingIfNeeded: general.rcx) }
        set { Self.set(&general.rcx, newValue) }
    }
    var dx: UInt16 {
        get { UInt16(truncatingIfNeeded: general.rdx) }
        set { Self.set(&general.rdx, newValue) }
    }
    var si: UInt16 {
        get { UInt16(truncatingIfNeeded: general.rsi) }
        set { Self.set(&general.rsi, newValue) }
    }
    var di: UInt16 {
        get { UInt16(truncatingIfNeeded: general.rdi) }
        set { Self.set(&general.rdi, newValue) }
    }
    var bp: UInt16 {
        get { UInt16(truncatingIfNeeded: general.rbp) }
        set { Self.set(&general.rbp, newValue) }
    }
    var al: UInt8 {
        get { UInt8(truncatingIfNeeded: ax) }
        set { ax = ax & 0xFF00 | UInt16(newValue) }
    }
    var ah: UInt8 {
        get { UInt8(truncatingIfNeeded: ax >> 8) }
        set { ax = ax & 0xFF | UInt16(newValue) << 8 }
    }
    var bl: UInt8 {
        get { UInt8(truncatingIfNeeded: bx) }
        set { bx = bx & 0xFF00 | UInt16(newValue) }
    }
    var bh: UInt8 {
        get { UInt8(truncatingIfNeeded: bx >> 8) }
        set { bx = bx & 0xFF | UInt16(newValue) << 8 }
    }
    var cl: UInt8 {
        get { UInt8(truncatingIfNeeded: cx) }
        set { cx = cx & 0xFF00 | UInt16(newValue) }
    }
    var ch: UInt8 {
        get { UInt8(truncatingIfNeeded: cx >> 8) }
        set { cx = cx & 0xFF | UInt16(newValue) << 8 }
    }
    var dl: UInt8 {
        get { UInt8(truncatingIfNeeded: dx) }
        set { dx = dx & 0xFF00 | UInt16(newValue) }
    }
    var dh: UInt8 {
        get { UInt8(truncatingIfNeeded: dx >> 8) }
        set { dx = dx & 0xFF | UInt16(newValue) << 8 }
    }

    private static func set(_ register: inout UInt64, _ value: UInt16) {
        register = register & ~0xFFFF | UInt64(value)
    }

    /// Sets a 32-bit register; its upper half goes, as an instruction would have it.
    static func set(_ register: inout UInt64, wide value: UInt32) { register = UInt64(value) }

    var firmwareRegisters: FirmwareRegisters {
        FirmwareRegisters(
            eax: UInt32(truncatingIfNeeded: general.rax), ebx: UInt32(truncatingIfNeeded: general.rbx),
            ecx: UInt32(truncatingIfNeeded: general.rcx), edx: UInt32(truncatingIfNeeded: general.rdx),
            esi: UInt32(truncatingIfNeeded: general.rsi), edi: UInt32(truncatingIfNeeded: general.rdi),
            ebp: UInt32(truncatingIfNeeded: general.rbp), ds: special.ds.selector, es: special.es.selector)
    }

    /// Loads ES as real mode does.
    mutating func loadES(_ selector: UInt16) {
        special.es.selector = selector
        special.es.base = UInt64(selector) << 4
    }

    // MARK: the caller's stack

    private func stack(_ offset: UInt64) -> UInt64 {
        let mask: UInt64 = special.ss.attributes.isBig ? 0xFFFF_FFFF : 0xFFFF
        return special.ss.base &+ ((general.rsp &+ offset) & mask)
    }

    /// Where the INT returns to, and the flags that IRET will load: nil where the stack is not in RAM.
    var frame: (offset: UInt16, segment: UInt16, flags: UInt16)? {
        guard let offset = memory.word(stack(0)), let segment = memory.word(stack(2)),
            let flags = memory.word(stack(4))
        else { return nil }
        return (offset, segment, flags)
    }

    /// Changes CF and ZF of the caller, and nothing else there.
    func returnFlags() {
        guard carry != nil || zero != nil, let before = memory.word(stack(4)) else { return }
        var flags = before
        if let carry { flags = flags & ~1 | (carry ? 1 : 0) }
        if let zero { flags = flags & ~0x40 | (zero ? 0x40 : 0) }
        if flags != before { memory.setWord(stack(4), flags) }
    }
}

/// The guest's memory by linear address, as the caller has it: through page tables in virtual-8086 mode, and wrapped at
/// 1 MiB where A20 is off. Nothing that a guest passes is relied on: what is not in RAM reads as nothing, and what is
/// written there is gone.
struct BIOSMemory {
    let ram: any PhysicalMemory
    let view: LinearMemory
    let isA20On: Bool

    init(_ ram: any PhysicalMemory, _ special: SpecialRegisters, isA20On: Bool) {
        self.ram = ram
        self.isA20On = isA20On
        view = LinearMemory(memory: ram, special: special)
    }

    private func physical(_ linear: UInt64) -> UInt64? {
        view.physical(linear & 0xFFFF_FFFF).map { isA20On ? $0 : $0 & ~(1 << 20) }
    }

    /// Does `body` for each part of a range that lies together; false where one is not in RAM.
    private func pages(
        _ linear: UInt64, _ count: Int, _ body: (_ gpa: UInt64, _ part: Range<Int>) -> Bool
    ) -> Bool {
        var done = 0
        while done < count {
            let at = (linear &+ UInt64(done)) & 0xFFFF_FFFF
            // Without paging, up to where bit 20 changes.
            let most = view.special.cr0.contains(.pg) ? 4096 - at & 0xFFF : (1 << 20) - at & 0xF_FFFF
            let part = min(count - done, Int(most))
            guard let gpa = physical(at), body(gpa, done..<done + part) else { return false }
            done += part
        }
        return true
    }

    /// Bytes from a linear address on; nil where they are not all in RAM.
    func bytes(_ linear: UInt64, count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        let isRead = bytes.withUnsafeMutableBytes { buffer in
            pages(linear, count) { gpa, part in
                // SAFETY: `part` is within the buffer, and used within this closure only.
                let slice = UnsafeMutableRawBufferPointer(rebasing: buffer[part])
                return (try? ram.read(gpa, into: slice)) != nil
            }
        }
        return isRead ? bytes : nil
    }

    /// Writes as much as is in RAM; false where not all is.
    @discardableResult
    func write(_ linear: UInt64, _ bytes: UnsafeRawBufferPointer) -> Bool {
        pages(linear, bytes.count) { gpa, part in
            // SAFETY: `part` is within the bytes, and used within this closure only.
            let slice = UnsafeRawBufferPointer(rebasing: bytes[part])
            return (try? ram.writeAsGuest(gpa, slice)) != nil || writePages(gpa, slice)
        }
    }

    /// What is not all in RAM: the pages before its end.
    private func writePages(_ gpa: UInt64, _ bytes: UnsafeRawBufferPointer) -> Bool {
        var done = 0
        while done < bytes.count {
            let count = min(bytes.count - done, Int(4096 - (gpa &+ UInt64(done)) & 0xFFF))
            // SAFETY: `count` bytes from `done` on are within the bytes.
            let slice = UnsafeRawBufferPointer(rebasing: bytes[done..<done + count])
            guard (try? ram.writeAsGuest(gpa &+ UInt64(done), slice)) != nil else { return false }
            done += count
        }
        return true
    }

    @discardableResult
    func write(_ linear: UInt64, _ bytes: [UInt8]) -> Bool {
        bytes.withUnsafeBytes { write(linear, $0) }
    }

    /// Up to eight bytes as a little-endian number, with no array between where they lie on one page.
    func number(_ linear: UInt64, size: Int) -> UInt64? {
        guard linear & 0xFFF <= UInt64(4096 - size) else {
            return bytes(linear, count: size)?.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        }
        return physical(linear).flatMap { ram.word($0, size: size) }
    }

    func setNumber(_ linear: UInt64, _ value: UInt64, size: Int) {
        withUnsafeBytes(of: value.littleEndian) { bytes in
            // SAFETY: `size` is 8 at most, and the part is used within this closure only.
            _ = write(linear, UnsafeRawBufferPointer(rebasing: bytes.prefix(size)))
        }
    }

    func byte(_ linear: UInt64) -> UInt8? { number(linear, size: 1).map { UInt8(truncatingIfNeeded: $0) } }
    func word(_ linear: UInt64) -> UInt16? { number(linear, size: 2).map { UInt16(truncatingIfNeeded: $0) } }
    func setByte(_ linear: UInt64, _ value: UInt8) { setNumber(linear, UInt64(value), size: 1) }
    func setWord(_ linear: UInt64, _ value: UInt16) { setNumber(linear, UInt64(value), size: 2) }
    func setDouble(_ linear: UInt64, _ value: UInt32) { setNumber(linear, UInt64(value), size: 4) }
}
