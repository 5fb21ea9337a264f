public import DebugTarget
import Debugger
import Locking

/// RAM from guest-physical 0 on.
public final class FakeMemory: PhysicalMemory {
    private let bytes: Lock<[UInt8]>
    private let size: Int
    /// Protected pages.
    let protections = Lock<[UInt64: PageAccess]>([:])

    public init(size: Int) {
        self.size = size
        bytes = Lock([UInt8](repeating: 0, count: size))
    }

    public var regions: [MemoryRegion] {
        [MemoryRegion(slot: 0, gpa: 0, size: UInt64(size), hva: 0x7F00_0000_0000, isReadOnly: false)]
    }

    private func check(_ gpa: UInt64, _ count: Int) throws(MemoryFault) -> Range<Int> {
        guard gpa < UInt64(size) else { throw MemoryFault(gpa: gpa) }
        guard count <= size - Int(gpa) else { throw MemoryFault(gpa: UInt64(size)) }
        return Int(gpa)..<Int(gpa) + count
    }

    public func read(_ gpa: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(MemoryFault) {
        let range = try check(gpa, buffer.count)
        bytes.withLock { buffer.copyBytes(from: $0[range]) }
    }

    public func write(_ gpa: UInt64, _ source: UnsafeRawBufferPointer) throws(MemoryFault) {
        let range = try check(gpa, source.count)
        bytes.withLock { $0.replaceSubrange(range, with: source) }
    }

    func access(_ gpa: UInt64) -> PageAccess? { protections.withLock { $0[gpa & ~0xFFF] } }

    /// One byte; all ones where there is no memory.
    subscript(gpa: UInt64) -> UInt8 {
        get { gpa < UInt64(size) ? bytes.withLock { $0[Int(gpa)] } : 0xFF }
        set { if gpa < UInt64(size) { bytes.withLock { $0[Int(gpa)] = newValue } } }
    }
}
