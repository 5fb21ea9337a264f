import DebugTarget
import X86

/// Starts Multiboot kernels, of both versions: 32-bit protected mode without paging, EAX the magic, EBX the address of
/// what the kernel is told.
///
/// Source: Multiboot Specification 0.6.96, 3.2 and 3.3; Multiboot2 Specification 2.0, 3.3 and 3.6.
enum MultibootLoader {
    static func load(_ image: ImageBytes, _ context: LoadContext) throws(MachineError) -> GuestImage {
        let head = try image.read(0, ImageDetection.multibootReach)
        guard let header = MultibootHeader(head) else {
            throw MachineError(.malformed, "\(image.name) has no Multiboot header", advice: .chooseKind)
        }
        try checkMode(image, context)
        guard header.unmet == 0 else {
            throw MachineError(
                .unsupported,
                "\(image.name) requires what this loader does not know: flags \(hex(header.unmet)) of its Multiboot header"
            )
        }
        let kernel: Kernel
        if let addresses = header.addresses {
            kernel = try Kernel(
                image, context, header: header.place, addresses.header, load: addresses.load,
                loadEnd: addresses.loadEnd, zeroEnd: addresses.zeroEnd, entry: addresses.entry)
        } else {
            kernel = try Kernel(image, context, entry: nil)
        }
        var build = try Build(kernel, image.name, context)
        let info = try build.information1()
        return build.image(magic: 0x2BAD_B002, information: info)
    }

    static func load2(_ image: ImageBytes, _ context: LoadContext) throws(MachineError) -> GuestImage {
        let head = try image.read(0, ImageDetection.multiboot2Reach)
        guard let header = try Multiboot2Header(head, image.name) else {
            throw MachineError(.malformed, "\(image.name) has no Multiboot 2 header", advice: .chooseKind)
        }
        try checkMode(image, context)
        guard header.unmet.isEmpty else {
            throw MachineError(
                .unsupported,
                "\(image.name) requires what this loader does not give: \(header.unmet.joined(separator: ", "))"
            )
        }
        let kernel: Kernel
        if let place = header.header {
            guard let entry = header.entry else {
                throw MachineError(
                    .malformed, "\(image.name) has an address tag and no entry tag in its Multiboot 2 header")
            }
            kernel = try Kernel(
                image, context, header: header.place, place, load: header.load, loadEnd: header.loadEnd,
                zeroEnd: header.zeroEnd, entry: entry)
        } else {
            kernel = try Kernel(image, context, entry: header.entry)
        }
        var build = try Build(kernel, image.name, context)
        let info = try build.information2()
        return build.image(magic: 0x36D7_6289, information: info)
    }

    private static func checkMode(_ image: ImageBytes, _ context: LoadContext) throws(MachineError) {
        guard context.entry == nil || context.entry == .prot else {
            throw MachineError(
                .unsupported, "\(image.name) is a Multiboot kernel, which starts in 32-bit protected mode",
                advice: .chooseEntry)
        }
    }

    // MARK: the kernel itself

    struct Kernel {
        var parts: [GuestImage.Part]
        var extents: [Range<UInt64>]
        var entry: UInt64

        /// An ELF file.
        init(_ image: ImageBytes, _ context: LoadContext, entry given: UInt32?) throws(MachineError) {
            guard try image.read(0, 4) == ELFFile.magic else {
                throw MachineError(
                    .malformed,
                    "\(image.name) is no ELF file, and its Multiboot header does not say where it goes")
            }
            let elf = try ELFImage(image, context.layout)
            parts = elf.parts
            extents = elf.extents
            if let given {
                entry = UInt64(given)
            } else {
                entry = try elf.entry(image)
            }
            guard entry < 1 << 32 else {
                throw MachineError(.malformed, "\(image.name) starts at \(hex(entry)), beyond 4 GiB")
            }
        }

        /// What the header says: the file from so far before the header on goes to `load`.
        init(
            _ image: ImageBytes, _ context: LoadContext, header place: Int, _ header: UInt32, load: UInt32,
            loadEnd: UInt32, zeroEnd: UInt32, entry: UInt32
        ) throws(MachineError) {
            let name = image.name
            func bad(_ what: String) -> MachineError {
                MachineError(
                    .malformed, "\(name): the addresses of its Multiboot header do not fit together: \(what)")
            }
            // FFFFFFFF: the header is where the kernel begins (Multiboot 2).
            let isFirst = load == .max
            let start = isFirst ? header : load
            guard header >= start, UInt64(header - start) <= UInt64(place) else {
                throw bad(
                    "the kernel would begin \(hex(UInt64(header) &- UInt64(start))) bytes before the header")
            }
            let offset = UInt64(place) - UInt64(header - start)
            guard loadEnd == 0 || loadEnd > start else {
                throw bad("it ends at \(hex(loadEnd)) and begins at \(hex(start))")
            }
            let count = loadEnd == 0 ? image.size - offset : UInt64(loadEnd - start)
            guard zeroEnd == 0 || UInt64(zeroEnd) >= UInt64(start) + count else {
                throw bad("its zeroed memory ends at \(hex(zeroEnd))")
            }
            let extent = zeroEnd == 0 ? count : UInt64(zeroEnd) - UInt64(start)
            guard extent <= (try context.layout.room(for: name, at: UInt64(start))) else {
                throw context.layout.oversized(name, extent, at: UInt64(start))
            }
            let range = UInt64(start)..<UInt64(start) + extent
            guard range.contains(UInt64(entry)) else {
                throw bad("it starts at \(hex(entry)), outside of it")
            }
            parts = [
                GuestImage.Part("kernel", at: range.lowerBound, try image.bytes(offset, count, "the kernel"))
            ]
            extents = [range]
            self.entry = UInt64(entry)
        }
    }

    // MARK: what it is told

    private struct Build {
        private let kernel: Kernel
        private let name: String
        private let context: LoadContext
        private var parts: [GuestImage.Part]
        private var room: RoomFinder
        private let tables: FirmwareTables
        private let module: Range<UInt64>?
        private static let loader = "kvmscope"

        init(_ kernel: Kernel, _ name: String, _ context: LoadContext) throws(MachineError) {
            self.kernel = kernel
            self.name = name
            self.context = context
            room = RoomFinder(context, taken: kernel.extents)
            tables = try FirmwareTables(context)
            parts = kernel.parts + tables.parts
            // The RAM disk is the kernel's first module.
            if let disk = try context.initrdBytes() {
                let place = try room.takeHigh("the module", UInt64(disk.count), below: 1 << 32)
                parts.append(GuestImage.Part("module", at: place, disk))
                module = place..<place + UInt64(disk.count)
            } else {
                module = nil
            }
        }

        private var lowKiB: UInt32 { UInt32(LoadContext.firmwareStart >> 10) }
        private var highKiB: UInt32 { UInt32(clamping: (max(context.lowEnd, 0x10_0000) - 0x10_0000) >> 10) }
        private var line: [UInt8] {
            get throws(MachineError) { try context.linuxLine(4095) }
        }

        mutating func information1() throws(MachineError) -> UInt64 {
            let line = try line
            let map = context.memoryMap
            // The structure, then what it points at.
            let mapPlace = 128
            let modulePlace = mapPlace + map.count * 24
            let linePlace = modulePlace + 16
            let namePlace = linePlace + line.count
            let size = namePlace + Self.loader.utf8.count + 1
            let base = try room.take("the Multiboot information", UInt64(size))
            var bytes = [UInt8](repeating: 0, count: size)
            func address(_ place: Int) -> UInt32 { UInt32(truncatingIfNeeded: base + UInt64(place)) }
            // Memory, command line, modules, map, loader's name, framebuffer.
            let flags: UInt32 = 1 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9 | 1 << 12
            bytes.put(flags, at: 0)
            bytes.put(lowKiB, at: 4)
            bytes.put(highKiB, at: 8)
            bytes.put(address(linePlace), at: 16)
            bytes.put(UInt32(module == nil ? 0 : 1), at: 20)
            bytes.put(address(modulePlace), at: 24)
            bytes.put(UInt32(map.count * 24), at: 44)
            bytes.put(address(mapPlace), at: 48)
            bytes.put(address(namePlace), at: 64)
            // EGA text, 80 by 25 at B8000h, two bytes a cell.
            bytes.put(UInt64(0xB8000), at: 88)
            bytes.put(UInt32(160), at: 96)
            bytes.put(UInt32(80), at: 100)
            bytes.put(UInt32(25), at: 104)
            bytes[108] = 16
            bytes[109] = 2
            for (index, row) in map.enumerated() {
                let place = mapPlace + index * 24
                // Without its own four bytes.
                bytes.put(UInt32(20), at: place)
                bytes.put(row.range.lowerBound, at: place + 4)
                bytes.put(row.range.upperBound - row.range.lowerBound, at: place + 12)
                bytes.put(row.type, at: place + 20)
            }
            if let module {
                bytes.put(UInt32(truncatingIfNeeded: module.lowerBound), at: modulePlace)
                bytes.put(UInt32(truncatingIfNeeded: module.upperBound), at: modulePlace + 4)
                bytes.put(address(linePlace + line.count - 1), at: modulePlace + 8)
            }
            bytes.replaceSubrange(linePlace..<namePlace, with: line)
            bytes.replaceSubrange(namePlace..<size - 1, with: Self.loader.utf8)
            parts.append(GuestImage.Part("Multiboot information", at: base, bytes))
            return base
        }

        mutating func information2() throws(MachineError) -> UInt64 {
            var tags: [UInt8] = []
            func add(_ type: UInt32, _ body: [UInt8]) {
                tags.append(number: type)
                tags.append(number: UInt32(8 + body.count))
                tags += body
                while tags.count % 8 != 0 { tags.append(0) }
            }
            func bytes(_ make: (inout [UInt8]) -> Void) -> [UInt8] {
                var result: [UInt8] = []
                make(&result)
                return result
            }
            add(1, try line)
            add(2, Array(Self.loader.utf8) + [0])
            if let module {
                add(
                    3,
                    bytes {
                        $0.append(number: UInt32(truncatingIfNeeded: module.lowerBound))
                        $0.append(number: UInt32(truncatingIfNeeded: module.upperBound))
                        $0.append(0)
                    })
            }
            let (low, high) = (lowKiB, highKiB)
            add(
                4,
                bytes {
                    $0.append(number: low)
                    $0.append(number: high)
                })
            let map = context.memoryMap
            add(
                6,
                bytes { body in
                    body.append(number: UInt32(24))
                    body.append(number: UInt32(0))
                    for row in map {
                        body.append(number: row.range.lowerBound)
                        body.append(number: row.range.upperBound - row.range.lowerBound)
                        body.append(number: row.type)
                        body.append(number: UInt32(0))
                    }
                })
            add(
                8,
                bytes {
                    $0.append(number: UInt64(0xB8000))
                    $0.append(number: UInt32(160))
                    $0.append(number: UInt32(80))
                    $0.append(number: UInt32(25))
                    $0 += [16, 2, 0, 0]
                })
            // The first version has 20 bytes of the pointer, the second all.
            add(14, Array(tables.pointer.prefix(20)))
            add(15, tables.pointer)
            add(0, [])
            let size = UInt64(tags.count + 8)
            let base = try room.take("the Multiboot information", size)
            var all: [UInt8] = []
            all.append(number: UInt32(size))
            all.append(number: UInt32(0))
            parts.append(GuestImage.Part("Multiboot information", at: base, all + tags))
            return base
        }

        func image(magic: UInt32, information: UInt64) -> GuestImage {
            // No descriptors are behind the caches: the kernel is told not to count on GDTR.
            var start = Preparation(.protected, at: kernel.entry)
            start.registers[.rax] = UInt64(magic)
            start.registers[.rbx] = information
            return GuestImage(name: name, parts: parts, entry: .prepared(start))
        }
    }
}
