import DebugTarget
import Debugger
import X86

/// An access that a watchpoint caught.
public struct WatchRow: Sendable, Hashable, Encodable {
    public var number: Int
    /// "read" or "write".
    public var access: String
    /// Of the first watched byte touched, in the form in which the watchpoint was given.
    public var address: String
    public var length: Int
    /// Absent where it is not known.
    public var old: Hex?
    public var new: Hex
    /// Where the instruction's own access begins, and how long it is; absent where it is no more than what is watched, or
    /// not known.
    public var accessAddress: String?
    public var accessLength: Int?

    init(_ hit: WatchHit) {
        number = hit.number
        access = hit.isWrite ? "write" : "read"
        address = hit.address.description
        length = hit.length
        old = hit.old.map { Hex($0) }
        new = Hex(hit.new)
        if let extent = hit.extent, extent.length > hit.length {
            accessAddress = extent.address.description
            accessLength = extent.length
        }
    }

    /// In Bochs' words.
    static func text(_ hit: WatchHit) -> String {
        let row = WatchRow(hit)
        func digits(_ value: UInt64) -> String { Hex.padded(value, width: hit.length * 2) }
        var text =
            "Caught \(row.access) watch point \(hit.number) at \(row.address), "
            + counted(hit.length, "byte") + ": "
        if hit.isWrite, let old = hit.old {
            text += old == hit.new ? "\(digits(old)) again" : "\(digits(old)) -> \(digits(hit.new))"
        } else {
            text += digits(hit.new)
        }
        if let address = row.accessAddress, let length = row.accessLength {
            text += ", by \(length) bytes at \(address)"
        }
        return text + "."
    }
}
