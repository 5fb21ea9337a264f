/// The header of a Multiboot kernel.
///
/// Source: Multiboot Specification 0.6.96, 3.1.
struct MultibootHeader: Sendable, Hashable {
    /// Where it stands in the file.
    let place: Int
    let flags: UInt32
    /// Where the kernel goes, of a file that is no ELF: flag bit 16.
    let addresses: Addresses?

    struct Addresses: Sendable, Hashable {
        var header: UInt32
        var load: UInt32
        /// 0: to the end of the file.
        var loadEnd: UInt32
        /// 0: no zeroed memory after it.
        var zeroEnd: UInt32
        var entry: UInt32
    }

    init?(_ head: [UInt8]) {
        guard let place = ImageDetection.multibootHeader(head), let flags = head.long(at: place + 4) else {
            return nil
        }
        self.place = place
        self.flags = flags
        guard flags & 1 << 16 != 0 else {
            addresses = nil
            return
        }
        guard let header = head.long(at: place + 12), let load = head.long(at: place + 16),
            let loadEnd = head.long(at: place + 20), let zeroEnd = head.long(at: place + 24),
            let entry = head.long(at: place + 28)
        else { return nil }
        addresses = Addresses(header: header, load: load, loadEnd: loadEnd, zeroEnd: zeroEnd, entry: entry)
    }

    /// Bits 0 to 15 are requirements. These are met: modules on pages, the memory map, text mode.
    var unmet: UInt32 { flags & 0xFFFF & ~7 }
}

/// The tags of a Multiboot 2 kernel's header.
///
/// Source: Multiboot2 Specification 2.0, 3.1.
struct Multiboot2Header: Sendable, Hashable {
    /// From its own place in the file on, where its kernel is no ELF or says it another way.
    var header: UInt32?
    var load: UInt32 = 0
    var loadEnd: UInt32 = 0
    var zeroEnd: UInt32 = 0
    /// Where an i386 program starts, instead of where its ELF header says.
    var entry: UInt32?
    /// Tags that a loader must honour and that this one does not.
    var unmet: [String] = []
    let place: Int

    /// Tags of information that are given: command line, loader, modules, memory, map, framebuffer and the ACPI RSDPs.
    static let given: Set<UInt32> = [1, 2, 3, 4, 6, 8, 14, 15]

    /// - Throws: where a tag goes beyond the header.
    init?(_ head: [UInt8], _ name: String) throws(MachineError) {
        guard let place = ImageDetection.multiboot2Header(head), let length = head.long(at: place + 8) else {
            return nil
        }
        self.place = place
        let end = place + Int(length)
        guard end <= head.count else {
            throw MachineError(
                .malformed, "\(name): its Multiboot 2 header has \(length) bytes, beyond where one may end")
        }
        var tag = place + 16
        while tag + 8 <= end {
            guard let type = head.word(at: tag), let flags = head.word(at: tag + 2),
                let size = head.long(at: tag + 4), size >= 8, tag + Int(size) <= end
            else {
                throw MachineError(
                    .malformed, "\(name): a tag of its Multiboot 2 header goes beyond the header")
            }
            if type == 0 { break }
            read(type, flags & 1 != 0, head, tag, Int(size))
            tag += (Int(size) + 7) & ~7
        }
    }

    private mutating func read(_ type: UInt16, _ isOptional: Bool, _ head: [UInt8], _ tag: Int, _ size: Int) {
        switch type {
        case 1:
            for place in stride(from: tag + 8, to: tag + size, by: 4) {
                guard let wanted = head.long(at: place), !isOptional, !Self.given.contains(wanted) else {
                    continue
                }
                unmet.append("information of type \(wanted)")
            }
        case 2 where size >= 24:
            header = head.long(at: tag + 8)
            load = head.long(at: tag + 12) ?? 0
            loadEnd = head.long(at: tag + 16) ?? 0
            zeroEnd = head.long(at: tag + 20) ?? 0
        case 3 where size >= 12: entry = head.long(at: tag + 8)
        // Console and framebuffer: text mode is what there is, and a wish for graphics is a preference. Modules stand on
        // pages. A kernel that can be relocated stays where it was linked. EFI entries are for EFI machines.
        case 4, 5, 6, 8, 9, 10: break
        default:
            if !isOptional { unmet.append("the header tag \(type)") }
        }
    }
}
