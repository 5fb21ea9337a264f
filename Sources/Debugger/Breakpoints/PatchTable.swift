import DebugTarget
import Locking
import Synchronization

/// The patches that stand in guest memory, by physical page, with the bytes that they hide: the one place where
/// that is known. Used by the debugger's thread and by those of the vCPUs.
///
/// Patches of both kinds may stand side by side, but share no byte; none crosses a page.
final class PatchTable: Sendable {
    /// What a patch is.
    enum Kind: Sendable, Hashable {
        /// INT3, which exits as KVM_EXIT_DEBUG.
        case int3
        /// OUT imm8, AL to a private port. The port's number is the opcode of OUT imm8 itself: a branch into the
        /// patch's second byte executes an OUT, too, and is noticed.
        case portOut

        var byte: UInt8 { self == .int3 ? 0xCC : 0xE6 }
        var length: Int { self == .int3 ? 1 : 2 }
    }

    static let pageSize = UInt64(PatchPage.size)

    private struct State {
        var pages: [UInt64: PatchPage] = [:] {
            didSet { last = nil }
        }
        /// The page that was asked for last: steps stay on one for long.
        private var last: (number: UInt64, page: PatchPage?)?
        /// Those that the guest can write to.
        var open: [(number: UInt64, page: PatchPage)] = []
        /// Bytes that stand open for one step of one vCPU.
        var lifted: [UInt64] = []
        /// What stood around the patches that there are and that there were: copies of them are known by it.
        var surroundings = PatchSurroundings()

        mutating func page(_ number: UInt64) -> PatchPage? {
            if let last, last.number == number { return last.page }
            let page = pages[number]
            last = (number, page)
            return page
        }
    }

    private let base: any PhysicalMemory
    private let lending: (any LendingMemory)?
    /// Who takes the patches back if this process cannot.
    private weak let keeper: (any PatchKeeping)?
    private let state = Lock(State())
    /// There is no patch: nothing else has to be asked.
    let isEmpty = Atomic<Bool>(true)

    init(base: any PhysicalMemory, keeper: (any PatchKeeping)? = nil) {
        self.base = base
        lending = base as? any LendingMemory
        self.keeper = keeper
    }

    private static func split(_ gpa: UInt64) -> (page: UInt64, offset: UInt16) {
        (gpa & ~(pageSize - 1), UInt16(gpa & (pageSize - 1)))
    }

    // MARK: planting

    /// Whether a patch at `gpa` lies in one page, and meets none of another kind.
    func fits(_ kind: Kind, at gpa: UInt64) -> Bool {
        let (number, offset) = Self.split(gpa)
        guard Int(offset) + kind.length <= PatchPage.size else { return false }
        return state.withLock { !($0.pages[number]?.hasOther(than: kind, at: offset) ?? false) }
    }

    /// Puts a patch at `gpa`, or counts one more that wants it. False where no memory is, or a patch of another kind.
    func insert(_ kind: Kind, at gpa: UInt64) -> Bool {
        state.withLock { state in
            let (number, offset) = Self.split(gpa)
            let known = state.pages[number]
            if let known, known.hasOther(than: kind, at: offset) { return false }
            if let start = known?.starts[offset] {
                known?.starts[offset] = PatchPage.Start(kind: kind, count: start.count + 1)
                return true
            }
            var hidden: [UInt8] = []
            for i in 0..<UInt16(kind.length) {
                let byte = known?[offset + i].map(UInt64.init) ?? base.word(gpa + UInt64(i), size: 1)
                guard let byte else { return false }
                hidden.append(UInt8(truncatingIfNeeded: byte))
            }
            do {
                try keeper?.willPatch(gpa, with: kind.byte, hiding: hidden)
            } catch {
                return false
            }
            state.surroundings.note(kind.byte, at: gpa, hiding: hidden) { place in
                let (number, offset) = Self.split(place)
                return state.pages[number]?[offset]
                    ?? base.word(place, size: 1).map { UInt8(truncatingIfNeeded: $0) }
            }
            let page = known ?? PatchPage()
            for (i, byte) in hidden.enumerated() {
                page.cover(offset + UInt16(i), with: kind.byte, hiding: byte)
                // One that is open for a step is patched when that is done, which takes what stands there for the
                // guest's.
                if !state.lifted.contains(gpa + UInt64(i)) { put(kind.byte, at: gpa + UInt64(i)) }
            }
            page.starts[offset] = PatchPage.Start(kind: kind, count: 1)
            if known == nil {
                state.pages[number] = page
                state.open.append((number, page))
            }
            isEmpty.store(false, ordering: .releasing)
            return true
        }
    }

    /// Takes away what ``insert(_:at:)`` put.
    func remove(_ gpa: UInt64) {
        state.withLock { state in
            let (number, offset) = Self.split(gpa)
            guard let page = state.pages[number], let start = page.starts[offset] else { return }
            let isLast = start.count == 1
            page.starts[offset] = isLast ? nil : PatchPage.Start(kind: start.kind, count: start.count - 1)
            if isLast {
                for i in 0..<UInt16(start.kind.length) where !page.isPatched(offset + i) {
                    if let byte = page[offset + i] {
                        page.uncover(offset + i)
                        put(byte, at: number + UInt64(offset + i))
                        keeper?.didRestore(number + UInt64(offset + i), count: 1)
                    }
                }
            }
            if page.starts.isEmpty {
                state.pages[number] = nil
                if !page.isGuarded { state.open.removeAll { $0.number == number } }
            }
            isEmpty.store(state.pages.isEmpty, ordering: .releasing)
        }
    }

    private func put(_ byte: UInt8, at gpa: UInt64) {
        // A page that had memory when the patch was planted has lost it: then nothing is there to be wrong.
        withUnsafeBytes(of: byte) { try? base.write(gpa, $0) }
    }

    // MARK: asking

    /// A patch begins here.
    func contains(_ gpa: UInt64) -> Bool {
        guard !isEmpty.load(ordering: .acquiring) else { return false }
        let (page, offset) = Self.split(gpa)
        return state.withLock { $0.pages[page]?.starts[offset] != nil }
    }

    /// This byte is a patch's.
    func covers(_ gpa: UInt64) -> Bool {
        guard !isEmpty.load(ordering: .acquiring) else { return false }
        let (page, offset) = Self.split(gpa)
        return state.withLock { $0.pages[page]?[offset] != nil }
    }

    /// Some byte of `range`, which lies in one page, is a patch's.
    func covers(_ range: Range<UInt64>) -> Bool {
        let (number, offset) = Self.split(range.lowerBound)
        let end = min(Int(offset) + Int(clamping: range.count), PatchPage.size)
        return state.withLock { $0.page(number)?.covers(Int(offset)..<end) ?? false }
    }

    /// As ``covers(_:)``, of a range that may lie in two.
    func covers(_ gpa: UInt64, count: Int) -> Bool {
        let head = min(UInt64(count), Self.pageSize - gpa % Self.pageSize)
        if covers(gpa..<gpa &+ head) { return true }
        return head < count && covers(gpa &+ head..<gpa &+ UInt64(count))
    }

    /// Whether something keeps the guest from writing to a page that has patches.
    func guardPage(_ number: UInt64, _ isGuarded: Bool) {
        state.withLock { state in
            guard let page = state.pages[number], page.isGuarded != isGuarded else { return }
            page.isGuarded = isGuarded
            if isGuarded {
                state.open.removeAll { $0.number == number }
            } else {
                state.open.append((number, page))
            }
        }
    }

    /// The page has a patch.
    func hasPatches(page: UInt64) -> Bool { state.withLock { $0.pages[page] != nil } }

    /// Whether an OUT to `port` that stands at `gpa` is a patch, or was made of a patch's last byte. Not while the guest's
    /// own bytes are back there: the OUT is its own then.
    func isPatch(outAt gpa: UInt64, port: UInt16) -> Bool {
        let (page, offset) = Self.split(gpa)
        let isOut = state.withLock { state in
            guard let page = state.pages[page], page[offset] != nil, !state.lifted.contains(gpa) else {
                return false
            }
            return page.patch(at: offset) == Kind.portOut.byte
        }
        guard isOut, let next = base.word(gpa + 1, size: 1) else { return false }
        return UInt16(next) == port
    }

    /// Whether an INT3 that the guest executed at `gpa` is its own, and no patch: one stands in the guest's own memory, and
    /// any patch there was lifted for the step that executed it. If none stands there any more, the patch was deleted before
    /// its exit was looked at; the guest goes on from `gpa` with what stands there now.
    ///
    /// - Parameter isStepped: the instruction at `gpa` was stepped, with patches on it lifted.
    func isOwn(int3At gpa: UInt64, isStepped: Bool) -> Bool {
        let (page, offset) = Self.split(gpa)
        return state.withLock { state in
            let hidden = state.pages[page]?[offset]
            if hidden != nil, !isStepped { return false }
            let byte = state.lifted.contains(gpa) ? nil : hidden
            return (byte ?? rawByte(gpa)).map { $0 == Kind.int3.byte } ?? true
        }
    }

    // MARK: copies

    /// Whether a patch of that kind that the guest has copied stands at `gpa`: its bytes, in surroundings as they were
    /// where it was planted.
    func isCopy(_ kind: Kind, at gpa: UInt64) -> Bool {
        state.withLock { state in
            guard !state.lifted.contains(gpa), !isPatched(gpa, state) else { return false }
            return state.surroundings.original(of: kind.byte, at: gpa, rawByte) != nil
        }
    }

    /// Puts the guest's own bytes into the copy at `gpa`, and into those of other patches that were copied with it.
    ///
    /// - Returns: where the patches begin that were copies, in order; empty where there is none at `gpa`.
    func undoCopies(_ kind: Kind, at gpa: UInt64) -> [UInt64] {
        state.withLock { state in
            guard !isPatched(gpa, state),
                let original = state.surroundings.original(of: kind.byte, at: gpa, rawByte)?.gpa
            else { return [] }
            let distance = gpa &- original
            let copies = state.surroundings.near(original).filter { patch in
                let place = patch.gpa &+ distance
                return !isPatched(place, state) && patch.stands(at: place, rawByte)
            }
            for patch in copies {
                for (i, byte) in patch.hidden.enumerated() {
                    put(byte, at: patch.gpa &+ distance &+ UInt64(i))
                }
            }
            return copies.map { $0.gpa &+ distance }
        }
    }

    private func isPatched(_ gpa: UInt64, _ state: borrowing State) -> Bool {
        let (number, offset) = Self.split(gpa)
        return state.pages[number]?[offset] != nil
    }

    private func rawByte(_ gpa: UInt64) -> UInt8? {
        base.word(gpa, size: 1).map { UInt8(truncatingIfNeeded: $0) }
    }

    // MARK: one step

    /// Puts the guest's own bytes back where patches stand in `range`, which lies in one page, until
    /// ``restore()``. False if there is none.
    func lift(_ range: Range<UInt64>) -> Bool {
        guard !isEmpty.load(ordering: .acquiring) else { return false }
        return state.withLock { state in
            let (number, _) = Self.split(range.lowerBound)
            guard let page = state.pages[number] else { return false }
            let before = state.lifted.count
            for gpa in range where gpa < number + Self.pageSize {
                // Once: what stands there when it is patched again is taken for the guest's.
                guard let byte = page[UInt16(gpa - number)], !state.lifted.contains(gpa) else {
                    continue
                }
                put(byte, at: gpa)
                state.lifted.append(gpa)
            }
            return state.lifted.count > before
        }
    }

    /// As ``lift(_:)``, all of them.
    func liftAll() {
        state.withLock { state in
            for (number, page) in state.pages {
                let lifted = Set(state.lifted)
                for offset in page.offsets() where !lifted.contains(number + UInt64(offset)) {
                    guard let byte = page[offset] else { continue }
                    put(byte, at: number + UInt64(offset))
                    state.lifted.append(number + UInt64(offset))
                }
            }
        }
    }

    /// Patches again what ``lift(_:)`` opened; what the guest wrote there meanwhile is what is hidden now.
    func restore() {
        state.withLock { state in
            for gpa in state.lifted {
                let (number, offset) = Self.split(gpa)
                // Removed while it was lifted.
                guard state.pages[number]?[offset] != nil else { continue }
                take(gpa, number, offset, &state)
            }
            state.lifted.removeAll(keepingCapacity: true)
        }
    }

    /// Looks whether the guest overwrote patches in the pages that nothing protects, and patches again.
    ///
    /// - Returns: the bytes that it overwrote.
    @discardableResult
    func check() -> [UInt64] {
        state.withLock { state in
            var overwritten: [UInt64] = []
            for (number, page) in state.open {
                guard !isIntact(number, page) else { continue }
                for offset in page.offsets() {
                    let gpa = number + UInt64(offset)
                    guard !state.lifted.contains(gpa),
                        base.word(gpa, size: 1) != UInt64(page.patch(at: offset))
                    else { continue }
                    take(gpa, number, offset, &state)
                    overwritten.append(gpa)
                }
            }
            return overwritten
        }
    }

    private func isIntact(_ number: UInt64, _ page: PatchPage) -> Bool {
        if let lending {
            return (try? lending.withBytes(number, count: PatchPage.size) { page.isIntact($0) })
                ?? false
        }
        return withUnsafeTemporaryAllocation(byteCount: PatchPage.size, alignment: 8) { buffer in
            (try? base.read(number, into: buffer)) != nil
                && page.isIntact(UnsafeRawBufferPointer(buffer))
        }
    }

    private func take(_ gpa: UInt64, _ number: UInt64, _ offset: UInt16, _ state: inout State) {
        guard let word = base.word(gpa, size: 1) else { return }
        let byte = UInt8(truncatingIfNeeded: word)
        hides(byte, gpa, number, offset, &state)
        if let page = state.pages[number] { put(page.patch(at: offset), at: gpa) }
    }

    /// The guest, or the user, has put another byte where a patch stands.
    private func hides(
        _ byte: UInt8, _ gpa: UInt64, _ number: UInt64, _ offset: UInt16, _ state: inout State
    ) {
        guard let page = state.pages[number], page[offset] != byte else { return }
        let patch = page.patch(at: offset)
        page.cover(offset, with: patch, hiding: byte)
        // It knows the patch already: only a keeper that is gone refuses, and then there is nobody to tell.
        try? keeper?.willPatch(gpa, with: patch, hiding: [byte])
    }

    // MARK: memory as it is without patches

    /// Puts what patches hide into bytes that were read from `gpa` on.
    func reveal(_ gpa: UInt64, _ buffer: UnsafeMutableRawBufferPointer) {
        state.withLock { state in
            forEachPatched(gpa, buffer.count, &state) { index, byte in buffer[index] = byte }
        }
    }

    /// Writes beneath the patches.
    func write(_ gpa: UInt64, _ bytes: UnsafeRawBufferPointer) throws(MemoryFault) {
        try state.withLock { state throws(MemoryFault) in
            var patched: [Int] = []
            let lifted = state.lifted
            forEachPatched(gpa, bytes.count, &state) { index, _ in
                if lifted.isEmpty || !lifted.contains(gpa &+ UInt64(index)) {
                    patched.append(index)
                }
            }
            guard !patched.isEmpty else { return try base.write(gpa, bytes) }
            var copy = Array(bytes)
            for index in patched {
                let (number, offset) = Self.split(gpa &+ UInt64(index))
                if let page = state.pages[number] { copy[index] = page.patch(at: offset) }
            }
            var fault: MemoryFault?
            copy.withUnsafeBytes { buffer in
                do throws(MemoryFault) { try base.write(gpa, buffer) } catch { fault = error }
            }
            if let fault { throw fault }
            for index in patched {
                let (number, offset) = Self.split(gpa &+ UInt64(index))
                hides(bytes[index], gpa &+ UInt64(index), number, offset, &state)
            }
        }
    }

    private func forEachPatched(
        _ gpa: UInt64, _ count: Int, _ state: inout State, _ body: (_ index: Int, _ hidden: UInt8) -> Void
    ) {
        var done = 0
        while done < count {
            let (number, offset) = Self.split(gpa &+ UInt64(done))
            let size = min(count - done, Int(Self.pageSize) - Int(offset))
            if let page = state.page(number) {
                let range = Int(offset)..<Int(offset) + size
                if page.covers(range) {
                    for i in page.offsets(in: range) {
                        if let byte = page[i] { body(done + Int(i - offset), byte) }
                    }
                }
            }
            done += size
        }
    }
}

/// Guest memory without the debugger's patches: reads give what patches hide, writes go beneath them.
final class PatchedMemory: PhysicalMemory {
    private let base: any PhysicalMemory
    private let patches: PatchTable

    init(_ base: any PhysicalMemory, _ patches: PatchTable) {
        self.base = base
        self.patches = patches
    }

    var regions: [MemoryRegion] { base.regions }

    func read(_ gpa: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(MemoryFault) {
        try base.read(gpa, into: buffer)
        if !patches.isEmpty.load(ordering: .acquiring) { patches.reveal(gpa, buffer) }
    }

    func word(_ gpa: UInt64, size: Int) -> UInt64? {
        guard let word = base.word(gpa, size: size) else { return nil }
        guard !patches.isEmpty.load(ordering: .acquiring) else { return word }
        return patches.covers(gpa, count: size) ? readWord(gpa, size: size) : word
    }

    func write(_ gpa: UInt64, _ bytes: UnsafeRawBufferPointer) throws(MemoryFault) {
        if patches.isEmpty.load(ordering: .acquiring) { return try base.write(gpa, bytes) }
        try patches.write(gpa, bytes)
    }

    func isROM(_ gpa: UInt64) -> Bool { base.isROM(gpa) }

    func writeAsGuest(_ gpa: UInt64, _ bytes: UnsafeRawBufferPointer) throws(MemoryFault) {
        // What is dropped does not reach what a patch hides either.
        if patches.isEmpty.load(ordering: .acquiring) || base.isROM(gpa) {
            return try base.writeAsGuest(gpa, bytes)
        }
        try patches.write(gpa, bytes)
    }
}
