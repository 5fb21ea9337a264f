import DebugTarget
import X86

extension LinearMemory {
    static let pageSize: UInt64 = 4096

    /// Bytes that lie together in guest-physical memory.
    struct Piece {
        var gpa: UInt64
        /// Of the whole transfer.
        var range: Range<Int>
    }

    /// The little-endian value of `size` bytes, eight at most, wherever their pages are.
    func word(_ linear: UInt64, size: Int) -> UInt64? {
        if Int(Self.pageSize - linear % Self.pageSize) >= size {
            return physical(linear).flatMap { memory.word($0, size: size) }
        }
        return read(linear, count: size, .linear(linear)).value(at: 0, width: size)
    }

    func read(_ linear: UInt64, count: Int, _ address: Address) -> MemoryImage {
        var image = MemoryImage(
            address: address, start: cut(linear), bytes: [UInt8](repeating: 0, count: count))
        for (place, range) in chunks(linear, count: count) {
            let walk = walk(place)
            if let gpa = walk.gpa {
                fill(&image, range, gpa)
            } else {
                image.add(MemoryImage.Gap(range: range, reason: reason(walk)))
            }
        }
        return image
    }

    /// Why a walk led nowhere.
    private func reason(_ walk: PageWalk) -> String {
        if case .unreadable(let level, let gpa) = walk.outcome, memory is KeptMemory,
            let fault = fault(at: gpa), fault.cause == .notKept
        {
            return "its \(level.rawValue): \(fault)"
        }
        return "not mapped: \(walk.outcome)"
    }

    private func fault(at gpa: UInt64) -> MemoryFault? {
        var byte: [UInt8] = [0]
        return copy(&byte, 0..<1, gpa)
    }

    func readPhysical(_ gpa: UInt64, count: Int, _ address: Address) -> MemoryImage {
        var image = MemoryImage(address: address, start: gpa, bytes: [UInt8](repeating: 0, count: count))
        // In pages, so that a hole costs no more than its own bytes.
        for (place, range) in Self.pages(gpa, count: count, cut: { $0 }) { fill(&image, range, place) }
        return image
    }

    private func fill(_ image: inout MemoryImage, _ range: Range<Int>, _ gpa: UInt64) {
        guard let fault = copy(&image.bytes, range, gpa) else { return }
        // Memory ends within the page: what stands before the end can still be had.
        let before = fault.gpa > gpa ? Int(min(fault.gpa - gpa, UInt64(range.count))) : 0
        let missing = range.lowerBound + before..<range.upperBound
        if before > 0, let second = copy(&image.bytes, range.lowerBound..<missing.lowerBound, gpa) {
            return image.add(MemoryImage.Gap(range: range, reason: "\(second)"))
        }
        image.add(MemoryImage.Gap(range: missing, reason: "\(fault)"))
    }

    private func copy(_ bytes: inout [UInt8], _ range: Range<Int>, _ gpa: UInt64) -> MemoryFault? {
        bytes.withUnsafeMutableBytes { buffer -> MemoryFault? in
            do throws(MemoryFault) {
                // SAFETY: the range lies in the array, and the part is used within this closure only.
                try memory.read(gpa, into: UnsafeMutableRawBufferPointer(rebasing: buffer[range]))
                return nil
            } catch {
                return error
            }
        }
    }

    /// Where each page's part of a linear range is.
    func pieces(_ linear: UInt64, count: Int, _ address: Address) throws(DebuggerError) -> [Piece] {
        var pieces: [Piece] = []
        for (place, range) in chunks(linear, count: count) {
            let walk = walk(place)
            guard let gpa = walk.gpa else {
                throw DebuggerError(
                    .unreadable, "\(address.advanced(by: range.lowerBound)) is not mapped: \(walk.outcome)",
                    remedy: "nothing was written")
            }
            pieces.append(Piece(gpa: gpa, range: range))
        }
        return pieces
    }

    /// Writes all pieces, or none.
    func write(_ pieces: [Piece], _ bytes: [UInt8], _ address: Address) throws(DebuggerError) {
        var old = bytes
        for piece in pieces {
            if let fault = copy(&old, piece.range, piece.gpa) {
                throw DebuggerError(
                    .unreadable,
                    "writing \(bytes.count == 1 ? "a byte" : "\(bytes.count) bytes") at \(address): \(fault)",
                    remedy: "nothing was written")
            }
        }
        for (done, piece) in pieces.enumerated() {
            guard let fault = store(bytes, piece) else { continue }
            for piece in pieces[..<done] { _ = store(old, piece) }
            throw DebuggerError(
                .unreadable,
                "writing \(bytes.count == 1 ? "a byte" : "\(bytes.count) bytes") at \(address): \(fault)",
                remedy: "nothing was changed")
        }
    }

    private func store(_ bytes: [UInt8], _ piece: Piece) -> MemoryFault? {
        bytes.withUnsafeBytes { buffer -> MemoryFault? in
            do throws(MemoryFault) {
                // SAFETY: the range lies in the array, and the part is used within this closure only.
                try memory.write(piece.gpa, UnsafeRawBufferPointer(rebasing: buffer[piece.range]))
                return nil
            } catch {
                return error
            }
        }
    }

    private func chunks(_ linear: UInt64, count: Int) -> [(place: UInt64, range: Range<Int>)] {
        Self.pages(cut(linear), count: count, cut: cut)
    }

    /// A range cut at page boundaries; it wraps where addresses do.
    private static func pages(
        _ start: UInt64, count: Int, cut: (UInt64) -> UInt64
    ) -> [(place: UInt64, range: Range<Int>)] {
        var parts: [(UInt64, Range<Int>)] = []
        var done = 0
        while done < count {
            let place = cut(start &+ UInt64(done))
            let size = min(count - done, Int(pageSize - place % pageSize))
            parts.append((place, done..<done + size))
            done += size
        }
        return parts
    }
}

extension MemoryImage {
    /// Adds a gap after all others; one that touches the last and has the same reason becomes part of it.
    mutating func add(_ gap: Gap) {
        if let last = gaps.last, last.range.upperBound == gap.range.lowerBound, last.reason == gap.reason {
            gaps[gaps.count - 1].range = last.range.lowerBound..<gap.range.upperBound
        } else {
            gaps.append(gap)
        }
    }
}
