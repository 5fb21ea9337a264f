import CLinux

/// The kernel's own description of its types, as far as offsets go. Source: Documentation/bpf/btf.rst.
///
/// The bytes are not trusted: every access is checked, and what contradicts itself is absent.
package struct BTF: Sendable {
    package enum Kind: UInt32, Sendable {
        case structure = 4
        case union = 5
        case function = 12
    }

    private let bytes: [UInt8]
    private let strings: Range<Int>
    /// Where each type's record begins, by id - `firstID`.
    private let records: [UInt32]
    private let firstID: UInt32
    /// The length of the base's string section: names of a split BTF begin there.
    private let stringBase: UInt32
    /// The ids of named structures, unions and functions by where their name stands.
    private let byName: [UInt32: [UInt32]]
    /// The string section of the base, which a module's own types take names from too.
    private let baseStrings: [UInt8]

    /// - Parameters:
    ///   - wanted: the names that ``type(_:_:)`` will be asked for; only they are indexed.
    ///   - base: of a module's BTF, the kernel's.
    package init?(_ bytes: [UInt8], wanted: [String], base: BTF? = nil) {
        // struct btf_header: magic, version, flags, hdr_len, type_off, type_len, str_off, str_len.
        guard Self.load16(bytes, 0) == 0xEB9F, let header = Self.load32(bytes, 4),
            let typeOffset = Self.load32(bytes, 8), let typeLength = Self.load32(bytes, 12),
            let stringOffset = Self.load32(bytes, 16), let stringLength = Self.load32(bytes, 20)
        else { return nil }
        let types = Int(header) + Int(typeOffset)
        let typesEnd = types + Int(typeLength)
        let stringsStart = Int(header) + Int(stringOffset)
        let stringsEnd = stringsStart + Int(stringLength)
        guard typesEnd <= bytes.count, stringsEnd <= bytes.count else { return nil }
        self.bytes = bytes
        strings = stringsStart..<stringsEnd
        stringBase = base.map { $0.stringBase + UInt32($0.strings.count) } ?? 0
        // Id 0 is void and has no record.
        let firstID = base.map { $0.firstID + UInt32($0.records.count) } ?? 1
        self.firstID = firstID
        let baseStrings = base.map { Array($0.bytes[$0.strings]) } ?? []
        self.baseStrings = baseStrings

        let offsets = wanted.flatMap { [stringBase, strings] name in
            Self.places(of: name, bytes, strings, base: stringBase, baseStrings)
        }
        var records = [UInt32]()
        records.reserveCapacity(Int(typeLength) / 36)
        var byName = [UInt32: [UInt32]]()
        // SAFETY: each record is loaded only where its 12 bytes lie before `typesEnd`, inside `bytes`.
        let complete = bytes.withUnsafeBytes { raw -> Bool in
            var at = types
            while at < typesEnd {
                guard typesEnd - at >= 12 else { return false }
                let name = raw.loadUnaligned(fromByteOffset: at, as: UInt32.self)
                let info = raw.loadUnaligned(fromByteOffset: at + 4, as: UInt32.self)
                let kind = info >> 24 & 0x1F
                let count = Int(info & 0xFFFF)
                guard let extra = Self.extraBytes(kind: kind, count: count) else { return false }
                if name != 0, kind == 4 || kind == 5 || kind == 12, offsets.contains(name) {
                    byName[name, default: []].append(firstID + UInt32(records.count))
                }
                records.append(UInt32(at))
                at += 12 + extra
            }
            return at == typesEnd
        }
        guard complete else { return nil }
        self.records = records
        self.byName = byName
    }

    /// What follows the 12 bytes of a type's record; nil for a kind that this reader does not know.
    private static func extraBytes(kind: UInt32, count: Int) -> Int? {
        switch kind {
        case 1, 14, 17: 4  // INT, VAR, DECL_TAG
        case 2, 7, 8, 9, 10, 11, 12, 16, 18: 0  // PTR, FWD, TYPEDEF, qualifiers, FUNC, FLOAT, TYPE_TAG
        case 3: 12  // ARRAY
        case 4, 5, 15, 19: count * 12  // STRUCT, UNION, DATASEC, ENUM64
        case 6, 13: count * 8  // ENUM, FUNC_PROTO
        default: nil
        }
    }

    /// The id of a type by its name.
    package func type(_ name: String, _ kind: Kind) -> UInt32? {
        for place in Self.places(of: name, bytes, strings, base: stringBase, baseStrings) {
            let ids = byName[place] ?? []
            if let id = ids.first(where: { record($0).map { info($0) >> 24 & 0x1F } == kind.rawValue }) {
                return id
            }
        }
        return nil
    }

    /// Where a member stands in a structure, in bytes; anonymous structures and unions are looked through.
    package func offset(of member: String, in type: UInt32) -> Int? {
        find(member, in: type)?.offset
    }

    /// Where a member of a member stands: `["arch", "guest_state_protected"]`.
    package func offset(of path: [String], in type: UInt32) -> Int? {
        var type = type
        var offset = 0
        for member in path {
            guard let found = find(member, in: type) else { return nil }
            offset += found.offset
            type = found.type
        }
        return offset
    }

    /// Each structure is looked through once, however often it holds others or itself.
    private func find(_ member: String, in type: UInt32) -> (offset: Int, type: UInt32)? {
        var waiting = [(type: type, offset: 0)]
        var seen: Set<UInt32> = []
        while let (type, start) = waiting.popLast() {
            guard seen.insert(type).inserted, let at = record(type) else { continue }
            let info = info(at)
            let kind = info >> 24 & 0x1F
            guard kind == Kind.structure.rawValue || kind == Kind.union.rawValue else { continue }
            for index in 0..<Int(info & 0xFFFF) {
                let entry = at + 12 + index * 12
                guard let name = Self.load32(bytes, entry), let memberType = Self.load32(bytes, entry + 4),
                    let position = Self.load32(bytes, entry + 8)
                else { return nil }
                // With kind_flag the upper byte is the size of a bit field.
                let bits = info >> 31 == 1 ? position & 0xFF_FFFF : position
                let offset = start + Int(bits) / 8
                if name == 0 {
                    waiting.append((memberType, offset))
                } else if text(name, is: member) {
                    return (offset, memberType)
                }
            }
        }
        return nil
    }

    private func record(_ id: UInt32) -> Int? {
        guard id >= firstID, Int(id - firstID) < records.count else { return nil }
        return Int(records[Int(id - firstID)])
    }

    private func info(_ at: Int) -> UInt32 { Self.load32(bytes, at + 4) ?? 0 }

    private func text(_ name: UInt32, is wanted: String) -> Bool {
        let utf8 = Array(wanted.utf8) + [0]
        if name < stringBase {
            let start = Int(name)
            guard start + utf8.count <= baseStrings.count else { return false }
            return baseStrings[start..<start + utf8.count].elementsEqual(utf8)
        }
        let start = strings.lowerBound + Int(name - stringBase)
        guard start + utf8.count <= strings.upperBound else { return false }
        return bytes[start..<start + utf8.count].elementsEqual(utf8)
    }

    /// The offsets by which records refer to a name: in the section itself, and in its base's.
    private static func places(
        of name: String, _ bytes: [UInt8], _ strings: Range<Int>, base: UInt32, _ baseStrings: [UInt8]
    ) -> [UInt32] {
        [
            find(name, bytes, strings).map { $0 + base },
            find(name, baseStrings, 0..<baseStrings.count),
        ].compactMap { $0 }
    }

    /// Where a whole string stands in a string section.
    private static func find(_ name: String, _ bytes: [UInt8], _ strings: Range<Int>) -> UInt32? {
        let needle = [0] + Array(name.utf8) + [0]
        // SAFETY: the haystack is the string section, which lies inside `bytes`; both outlive the call.
        return bytes.withUnsafeBytes { raw -> UInt32? in
            guard let base = raw.baseAddress,
                let found = clinux_find(base + strings.lowerBound, strings.count, needle, needle.count)
            else { return nil }
            return UInt32(found - base - strings.lowerBound + 1)
        }
    }

    private static func load16(_ bytes: [UInt8], _ at: Int) -> UInt16? {
        guard at >= 0, at + 2 <= bytes.count else { return nil }
        return UInt16(bytes[at]) | UInt16(bytes[at + 1]) << 8
    }

    private static func load32(_ bytes: [UInt8], _ at: Int) -> UInt32? {
        guard at >= 0, at + 4 <= bytes.count else { return nil }
        return UInt32(bytes[at]) | UInt32(bytes[at + 1]) << 8 | UInt32(bytes[at + 2]) << 16
            | UInt32(bytes[at + 3]) << 24
    }
}
