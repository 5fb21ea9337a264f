import CLinux
import DebugTarget
import X86

/// Writes a message: little-endian, nothing aligned.
struct WireWriter {
    var bytes: [UInt8]

    init(_ kind: UInt8) { bytes = [kind] }

    mutating func put<Value: FixedWidthInteger>(_ value: Value) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    mutating func put(_ text: String) {
        let utf8 = Array(text.utf8.prefix(4096))
        put(UInt32(utf8.count))
        bytes += utf8
    }

    /// Text that loses its meaning when it is cut.
    mutating func put(whole text: String) { Array(text.utf8).withUnsafeBytes { put($0) } }

    mutating func put(_ data: UnsafeRawBufferPointer) {
        put(UInt32(data.count))
        bytes += data
    }
}

extension WireWriter {
    mutating func put(_ vcpus: [TracedVCPU]) {
        put(UInt16(vcpus.count))
        for vcpu in vcpus {
            put(vcpu.id)
            put(vcpu.descriptor)
            put(vcpu.thread)
            // 0: none.
            put(vcpu.legacy.map { $0.isArmed ? 2 : 1 as UInt8 } ?? 0)
            guard let legacy = vcpu.legacy else { continue }
            put(legacy.validRegisters)
            put(legacy.record?.flags.rawValue ?? 0)
            guard let record = legacy.record, !record.flags.isEmpty else { continue }
            put(record.mask)
            put(record.rip)
            record.registers.withUnsafeBytes { put($0) }
        }
    }

    mutating func put(_ plan: UnattendedSteps?) {
        guard let plan else { return put(0 as UInt8) }
        put(1 as UInt8)
        put(plan.count)
        put(UInt16(plan.places.count))
        for place in plan.places { put(place) }
        for word in WireReader.words { put(plan.before[keyPath: word]) }
        put(plan.before.rflags.rawValue)
    }
}

/// Reads a message; whatever is missing or makes no sense is nil.
struct WireReader {
    private let bytes: ArraySlice<UInt8>
    private var at: Int

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        at = bytes.startIndex
    }

    mutating func take<Value: FixedWidthInteger>(_ type: Value.Type = Value.self) -> Value? {
        let size = MemoryLayout<Value>.size
        guard bytes.endIndex - at >= size else { return nil }
        var value: Value = 0
        for index in (0..<size).reversed() {
            value = (value << 8) | Value(truncatingIfNeeded: bytes[at + index])
        }
        at += size
        return value
    }

    mutating func data() -> ArraySlice<UInt8>? {
        guard let count = take(UInt32.self), bytes.endIndex - at >= Int(count) else { return nil }
        defer { at += Int(count) }
        return bytes[at..<at + Int(count)]
    }

    /// So many bytes.
    mutating func take(_ count: Int) -> [UInt8]? {
        guard count >= 0, bytes.endIndex - at >= count else { return nil }
        defer { at += count }
        return Array(bytes[at..<at + count])
    }

    mutating func text() -> String? { data().map { String(decoding: $0, as: UTF8.self) } }

    static var words: [WritableKeyPath<GeneralRegisters, UInt64>] {
        [
            \.rax, \.rbx, \.rcx, \.rdx, \.rsi, \.rdi, \.rsp, \.rbp, \.r8, \.r9, \.r10, \.r11, \.r12, \.r13,
            \.r14, \.r15, \.rip,
        ]
    }

    mutating func vcpus() -> [TracedVCPU]? {
        guard let count = take(UInt16.self) else { return nil }
        var vcpus = [TracedVCPU]()
        for _ in 0..<count {
            guard let id = take(Int32.self), let descriptor = take(Int32.self),
                let thread = take(Int32.self), let legacy = take(UInt8.self), legacy <= 2
            else { return nil }
            var vcpu = TracedVCPU(id: id, descriptor: descriptor, thread: thread)
            if legacy > 0 {
                guard let mask = take(UInt64.self), let flags = take(UInt8.self) else { return nil }
                vcpu.legacy = .init(validRegisters: mask, isArmed: legacy == 2)
                if flags != 0 {
                    guard let record = record(.init(rawValue: flags)) else { return nil }
                    vcpu.legacy?.record = record
                }
            }
            vcpus.append(vcpu)
        }
        return vcpus
    }

    private mutating func record(_ flags: ThreadRecord.Flags) -> ThreadRecord? {
        guard let mask = take(UInt64.self), let rip = take(UInt64.self), let registers = data(),
            registers.count == ThreadRecord.registersSize
        else { return nil }
        return ThreadRecord(flags: flags, mask: mask, rip: rip, registers: Array(registers))
    }

    mutating func plan() -> UnattendedSteps? {
        guard let count = take(UInt64.self), let places = take(UInt16.self),
            places <= UnattendedSteps.capacity
        else { return nil }
        var plan = UnattendedSteps(count: count, places: [], before: GeneralRegisters())
        for _ in 0..<places {
            guard let place = take(UInt64.self) else { return nil }
            plan.places.append(place)
        }
        for word in Self.words {
            guard let value = take(UInt64.self) else { return nil }
            plan.before[keyPath: word] = value
        }
        guard let flags = take(UInt64.self) else { return nil }
        plan.before.rflags = RFlags(rawValue: flags)
        return plan
    }

    /// Nothing is left over.
    var isAtEnd: Bool { at == bytes.endIndex }
}

/// How messages go through the socket: whole as a rule. A longer one, as a memory map of thousands of slots, goes in
/// pieces, each with a mark in front; whole messages of another thread may come between them.
struct WirePieces {
    /// The longest piece, in bytes: half of what the receivers have room for.
    static let limit = 64 * 1024
    /// More than KVM has slots for.
    private static let longest = 4 << 20
    /// No message has a kind like these.
    private static let more: UInt8 = 0xFE
    private static let last: UInt8 = 0xFF

    private var parts: [UInt8] = []

    /// A message as it is sent.
    static func cut(_ message: [UInt8]) -> [[UInt8]] {
        guard message.count > limit else { return [message] }
        return stride(from: 0, to: message.count, by: limit - 1).map { start in
            let end = min(start + limit - 1, message.count)
            return [end < message.count ? more : last] + message[start..<end]
        }
    }

    /// False where the other end is gone.
    static func send(_ message: [UInt8], to socket: Int32) -> Bool {
        cut(message).allSatisfy { clinux_send(socket, $0, $0.count) == $0.count }
    }

    /// - Returns: the message that has come with this; nil while there is more of it to come.
    mutating func take(_ piece: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard let mark = piece.first, mark >= Self.more else { return piece }
        parts += piece.dropFirst()
        // What makes no sense is not kept: what is left of it makes none either.
        guard parts.count <= Self.longest else {
            parts = []
            return []
        }
        guard mark == Self.last else { return nil }
        defer { parts = [] }
        return parts[...]
    }
}
