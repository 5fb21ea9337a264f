import DebugTarget
import Locking

/// Pages of guest memory as they were at a stop, by page number. What was not looked at then is not there.
struct KeptMemory: PhysicalMemory {
    static let pageSize = 4096

    var regions: [MemoryRegion]
    private(set) var pages: [UInt64: [UInt8]] = [:]

    init(regions: [MemoryRegion]) { self.regions = regions }

    /// Takes pages in. A page that is as it was at the stop before shares that one's bytes.
    mutating func take(_ new: [UInt64: [UInt8]], since before: KeptMemory?) {
        for (number, bytes) in new {
            if let old = before?.pages[number], old == bytes {
                pages[number] = old
            } else {
                pages[number] = bytes
            }
        }
    }

    func read(_ gpa: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(MemoryFault) {
        try Self.forEachPage(gpa, count: buffer.count) { number, within, offset, count throws(MemoryFault) in
            guard let page = pages[number] else {
                throw missing(number &* UInt64(Self.pageSize) &+ UInt64(within))
            }
            Self.copy(page, from: within, count: count, to: buffer, at: offset)
        }
    }

    /// Why a page is not there: there was no memory, or nobody looked.
    private func missing(_ gpa: UInt64) -> MemoryFault {
        let isBacked = regions.contains { gpa >= $0.gpa && gpa - $0.gpa < $0.size }
        return MemoryFault(gpa: gpa, cause: isBacked ? .notKept : .notBacked)
    }

    /// The past is not written.
    func write(_ gpa: UInt64, _ bytes: UnsafeRawBufferPointer) throws(MemoryFault) {
        throw MemoryFault(gpa: gpa)
    }

    /// The parts of a range that lie in one page each: page, where in it, where in the range, how many.
    static func forEachPage(
        _ gpa: UInt64, count: Int,
        _ body: (_ number: UInt64, _ within: Int, _ offset: Int, _ count: Int) throws(MemoryFault) -> Void
    ) throws(MemoryFault) {
        var offset = 0
        while offset < count {
            let place = gpa &+ UInt64(offset)
            let within = Int(place % UInt64(pageSize))
            let part = min(count - offset, pageSize - within)
            try body(place / UInt64(pageSize), within, offset, part)
            offset += part
        }
    }

    static func copy(
        _ page: [UInt8], from within: Int, count: Int, to buffer: UnsafeMutableRawBufferPointer,
        at offset: Int
    ) {
        page.withUnsafeBytes { bytes in
            // SAFETY: both ranges were cut to their buffers, which do not overlap and live through the call.
            UnsafeMutableRawBufferPointer(rebasing: buffer[offset..<offset + count])
                .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[within..<within + count]))
        }
    }
}

/// Memory that remembers each page that was read of it, as it was then.
final class RememberingMemory: PhysicalMemory {
    private let memory: any PhysicalMemory
    private let seen = Lock<[UInt64: [UInt8]]>([:])

    init(_ memory: any PhysicalMemory) { self.memory = memory }

    var regions: [MemoryRegion] { memory.regions }
    var pages: [UInt64: [UInt8]] { seen.withLock { $0 } }

    func read(_ gpa: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(MemoryFault) {
        try KeptMemory.forEachPage(gpa, count: buffer.count) {
            number, within, offset, count throws(MemoryFault) in
            if let page = page(number) {
                KeptMemory.copy(page, from: within, count: count, to: buffer, at: offset)
            } else {
                // A page that is not backed as a whole is not kept.
                // SAFETY: the range was cut to the buffer, and is used within this call only.
                try memory.read(
                    gpa &+ UInt64(offset),
                    into: UnsafeMutableRawBufferPointer(rebasing: buffer[offset..<offset + count]))
            }
        }
    }

    func write(_ gpa: UInt64, _ bytes: UnsafeRawBufferPointer) throws(MemoryFault) {
        try memory.write(gpa, bytes)
    }

    private func page(_ number: UInt64) -> [UInt8]? {
        if let known = seen.withLock({ $0[number] }) { return known }
        let (start, isBeyond) = number.multipliedReportingOverflow(by: UInt64(KeptMemory.pageSize))
        guard !isBeyond else { return nil }
        var page = [UInt8](repeating: 0, count: KeptMemory.pageSize)
        let isRead = page.withUnsafeMutableBytes { buffer in
            do throws(MemoryFault) {
                try memory.read(start, into: buffer)
                return true
            } catch {
                return false
            }
        }
        guard isRead else { return nil }
        seen.withLock { $0[number] = page }
        return page
    }
}
