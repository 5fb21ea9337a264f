import CKVM

/// Arguments of variable length: a header that ends with or holds a count, and entries after it.
enum ByteCoding {
    /// `struct kvm_cpuid2`: a count, padding, and entries of 40 bytes.
    static func encode(cpuid entries: [CPUIDEntry], capacity: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 8 + capacity * 40)
        bytes.store(UInt32(truncatingIfNeeded: capacity), at: 0)
        for (index, entry) in entries.prefix(capacity).enumerated() {
            let at = 8 + index * 40
            bytes.store(entry.function, at: at)
            bytes.store(entry.index, at: at + 4)
            bytes.store(entry.flags, at: at + 8)
            bytes.store(entry.eax, at: at + 12)
            bytes.store(entry.ebx, at: at + 16)
            bytes.store(entry.ecx, at: at + 20)
            bytes.store(entry.edx, at: at + 24)
        }
        return bytes
    }

    /// A `struct kvm_cpuid2` to be filled in: what the kernel does not write keeps a byte that no leaf is made of.
    static func cpuidBuffer(capacity: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: cpuidFilling, count: 8 + capacity * 40)
        bytes.store(UInt32(truncatingIfNeeded: capacity), at: 0)
        bytes.store(0 as UInt32, at: 4)
        return bytes
    }
    private static let cpuidFilling: UInt8 = 0xA5

    /// How many entries a buffer has room for.
    static func cpuidCapacity(_ bytes: [UInt8]) -> Int { max(0, bytes.count - 8) / 40 }

    /// How many entries of a ``cpuidBuffer(capacity:)`` there are up to the last that was written, as far as can be seen.
    static func filledCPUIDEntries(_ bytes: [UInt8]) -> Int {
        var count = cpuidCapacity(bytes)
        while count > 0, bytes[(8 + (count - 1) * 40)..<(8 + count * 40)].allSatisfy({ $0 == cpuidFilling }) {
            count -= 1
        }
        return count
    }

    static func decodeCPUID(_ bytes: [UInt8]) -> [CPUIDEntry] {
        let count = min(Int(bytes.load(0, as: UInt32.self)), cpuidCapacity(bytes))
        return (0..<count).map { index in
            let at = 8 + index * 40
            return CPUIDEntry(
                function: bytes.load(at), index: bytes.load(at + 4), flags: bytes.load(at + 8),
                eax: bytes.load(at + 12), ebx: bytes.load(at + 16), ecx: bytes.load(at + 20),
                edx: bytes.load(at + 24))
        }
    }

    /// `struct kvm_msrs`: a count, padding, and entries of an index, padding and a value.
    static func encode(msrs: ArraySlice<MSRValue>) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 8 + msrs.count * 16)
        bytes.store(UInt32(truncatingIfNeeded: msrs.count), at: 0)
        for (index, msr) in msrs.enumerated() {
            bytes.store(msr.index, at: 8 + index * 16)
            bytes.store(msr.value, at: 16 + index * 16)
        }
        return bytes
    }

    static func decodeMSRValues(_ bytes: [UInt8]) -> [UInt64] {
        (0..<max(0, bytes.count - 8) / 16).map { bytes.load(16 + $0 * 16) }
    }
}

extension [UInt8] {
    /// A little-endian integer; zero where the array is too short.
    func load<Value: FixedWidthInteger & UnsignedInteger>(_ offset: Int, as type: Value.Type = Value.self)
        -> Value
    {
        guard offset >= 0, offset <= count, count - offset >= MemoryLayout<Value>.size else { return 0 }
        var value: Value = 0
        for index in (0..<MemoryLayout<Value>.size).reversed() {
            value = value << 8 | Value(self[offset + index])
        }
        return value
    }

    /// Stores a little-endian integer that fits.
    mutating func store<Value: FixedWidthInteger & UnsignedInteger>(_ value: Value, at offset: Int) {
        for index in 0..<MemoryLayout<Value>.size {
            self[offset + index] = UInt8(truncatingIfNeeded: value >> Value(index * 8))
        }
    }
}
