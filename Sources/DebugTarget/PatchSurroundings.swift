/// What stood around each patch when it was planted. A guest that moves its code, as boot sectors do, takes patches
/// along: there they are nobody's, and would be executed as what they are.
package struct PatchSurroundings: Sendable {
    /// One patch, with the guest's own bytes around it.
    package struct Patch: Sendable {
        /// Each of its bytes.
        var byte: UInt8
        package var gpa: UInt64
        /// The guest's own bytes beneath it: as many as the patch has.
        package var hidden: [UInt8]
        /// The guest's own bytes before it, the nearest first, and after it; fewer where memory ends.
        var before: [UInt8]
        var after: [UInt8]

        /// So many bytes on each side are kept. Counted outwards to the first that differs, so many have to be the same
        /// that tell something: fillings are the same everywhere.
        package static let reach = 16
        static let needed = 4
        static let fillings: Set<UInt8> = [0x00, 0x90, 0xFF]

        /// Whether its bytes stand at `place`, in the same surroundings. A byte that is a patch's own counts as the same:
        /// other patches were copied, too.
        package func stands(at place: UInt64, _ byte: (UInt64) -> UInt8?) -> Bool {
            let length = UInt64(hidden.count)
            for i in 0..<length where byte(place &+ i) != self.byte { return false }
            func same(_ bytes: [UInt8], _ at: (UInt64) -> UInt64) -> Int {
                bytes.indices.prefix {
                    let found = byte(at(UInt64($0)))
                    return found == bytes[$0] || found == self.byte
                }.count { bytes[$0] != self.byte && !Self.fillings.contains(bytes[$0]) }
            }
            return same(before) { place &- 1 &- $0 } + same(after) { place &+ length &+ $0 } >= Self.needed
        }
    }

    private var patches: [UInt64: Patch] = [:]
    /// More would be looked through at each foreign OUT.
    private static let limit = 4096

    package init() {}

    /// - Parameters:
    ///   - patch: each of the patch's bytes; there are as many as it hides.
    ///   - byte: the guest's own byte at a guest-physical address; nil where no memory is.
    package mutating func note(
        _ patch: UInt8, at gpa: UInt64, hiding hidden: [UInt8], _ byte: (UInt64) -> UInt8?
    ) {
        guard patches.count < Self.limit || patches[gpa] != nil else { return }
        func run(_ place: (UInt64) -> UInt64) -> [UInt8] {
            var bytes: [UInt8] = []
            for i in 0..<UInt64(Patch.reach) {
                guard let found = byte(place(i)) else { break }
                bytes.append(found)
            }
            return bytes
        }
        let end = gpa &+ UInt64(hidden.count)
        patches[gpa] = Patch(
            byte: patch, gpa: gpa, hidden: hidden, before: run { gpa &- 1 &- $0 }, after: run { end &+ $0 })
    }

    /// The patch that a copy at `gpa` was made of. Nil where none fits, or several that hide other bytes do.
    ///
    /// - Parameter byte: what stands at a guest-physical address, patches and all.
    package func original(of patch: UInt8, at gpa: UInt64, _ byte: (UInt64) -> UInt8?) -> Patch? {
        let fitting = patches.values.filter { $0.byte == patch && $0.gpa != gpa && $0.stands(at: gpa, byte) }
        guard let first = fitting.min(by: { $0.gpa < $1.gpa }),
            fitting.allSatisfy({ $0.hidden == first.hidden })
        else { return nil }
        return first
    }

    /// Those that may have been copied together with the one at `gpa`, in order.
    package func near(_ gpa: UInt64) -> [Patch] {
        patches.values.filter { max($0.gpa, gpa) - min($0.gpa, gpa) < 0x1_0000 }.sorted { $0.gpa < $1.gpa }
    }
}
