import DebugTarget
import X86

/// Starts Linux: a bzImage by its 64-bit, 32-bit or real-mode protocol, a vmlinux by its 64-bit entry or by PVH.
///
/// Source: Linux, Documentation/arch/x86/boot.rst; for PVH arch/x86/include/asm/xen/start_info.h.
enum LinuxLoader {
    /// __BOOT_CS and __BOOT_DS.
    private static let code: UInt16 = 0x10
    private static let data: UInt16 = 0x18

    // MARK: bzImage

    static func bzImage(_ image: ImageBytes, _ context: LoadContext) throws(MachineError) -> GuestImage {
        let head = try image.read(0, 4096)
        guard let header = LinuxHeader(head) else {
            throw MachineError(.malformed, "\(image.name) has no Linux setup header", advice: .chooseKind)
        }
        guard header.isLoadedHigh else {
            throw MachineError(
                .unsupported,
                "\(image.name) is a zImage, which is loaded below 640 KiB; those are not started",
                remedy: "a bzImage of the same kernel is")
        }
        let setup = UInt64(header.setupSize)
        guard setup < image.size else {
            throw MachineError(
                .malformed,
                "\(image.name) has \(header.setupSectors) sectors of setup code and nothing after them",
                remedy: "the file is truncated or damaged")
        }
        let count = image.size - setup
        // syssize rounds up to 16 bytes; a file may have a signature after it.
        guard header.systemSize * 16 <= count + 15 else {
            throw MachineError(
                .malformed,
                "\(image.name) says that its kernel has \(header.systemSize * 16) bytes, and \(count) are there",
                remedy: "the file is truncated or damaged")
        }
        let mode = context.entry ?? (header.has64BitEntry ? .long : .prot)
        if mode == .long, !header.has64BitEntry {
            throw MachineError(
                .unsupported, "\(image.name) has no entry for 64-bit mode", advice: .chooseEntry)
        }
        let address = mode == .real ? 0x10_0000 : try placement(header, image.name, context)
        let extent = max(header.initSize, count)
        let room = try context.layout.room(for: image.name, at: address)
        guard extent <= room else { throw context.layout.oversized(image.name, extent, at: address) }
        let kernel = GuestImage.Part("kernel", at: address, try image.bytes(setup, count, "the kernel"))
        let taken = address..<address + extent
        if mode == .real { return try realMode(image, head, header, kernel, taken, context) }

        var build = LinuxBuild(context, kernel: [kernel], taken: [taken])
        build.parameters = BootParameters(
            header: head[LinuxHeader.start..<max(LinuxHeader.start, min(header.end, head.count))])
        build.parameters.set(code32: address)
        try build.add(longest: header.longestCommandLine, highestInitrd: header.highestInitrd)
        return try build.image(image.name, mode: mode, at: mode == .long ? address + 0x200 : address)
    }

    /// Where protected-mode code goes: as the kernel prefers it, if that is in RAM, else as low as it may.
    private static func placement(
        _ header: LinuxHeader, _ name: String, _ context: LoadContext
    ) throws(MachineError) -> UInt64 {
        guard header.isRelocatable else { return max(header.preferredAddress, 0x10_0000) }
        let alignment = UInt64(max(header.alignment, 4096))
        guard alignment.nonzeroBitCount == 1 else {
            throw MachineError(.malformed, "\(name) wants an alignment of \(alignment) bytes")
        }
        let wanted = header.preferredAddress
        let fits =
            wanted >= 0x10_0000 && wanted < context.lowEnd && wanted % alignment == 0
            && context.lowEnd - wanted >= header.initSize
        return fits ? wanted : max(0x10_0000, alignment)
    }

    /// The setup code at 0x90000, started at its second sector (boot.rst, "Running the kernel").
    private static func realMode(
        _ image: ImageBytes, _ head: [UInt8], _ header: LinuxHeader, _ kernel: GuestImage.Part,
        _ taken: Range<UInt64>, _ context: LoadContext
    ) throws(MachineError) -> GuestImage {
        let base: UInt64 = 0x90000
        let heapEnd: UInt64 = 0xE000
        guard header.setupSize <= 0x8000 else {
            throw MachineError(
                .unsupported, "\(image.name) has \(header.setupSize) bytes of setup code, and 32 KiB fit")
        }
        var setup = try image.bytes(0, UInt64(header.setupSize), "the setup code")
        let line = try context.linuxLine(header.longestCommandLine)
        guard line.count <= Int(LoadContext.firmwareStart - base - heapEnd) else {
            throw MachineError(
                .unsupported, "the command line has \(line.count - 1) bytes, too many in real mode")
        }
        setup[0x210] = 0xFF
        // CAN_USE_HEAP, and where the heap ends, from the offset 0x200 of the setup code on.
        setup[0x211] |= 0x80
        setup.put(UInt16(heapEnd - 0x200), at: 0x224)
        setup.put(UInt32(base + heapEnd), at: 0x228)
        setup.put(UInt32(truncatingIfNeeded: kernel.address), at: 0x214)
        var parts = [kernel]
        var room = RoomFinder(context, taken: [taken, base..<LoadContext.firmwareStart])
        if let disk = try context.initrdBytes() {
            let place = try room.takeHigh(
                "the initial RAM disk", UInt64(disk.count), below: header.highestInitrd)
            setup.put(UInt32(place), at: 0x218)
            setup.put(UInt32(disk.count), at: 0x21C)
            parts.append(GuestImage.Part("initrd", at: place, disk))
        }
        parts.append(GuestImage.Part("setup code", at: base, setup))
        parts.append(GuestImage.Part("command line", at: base + heapEnd, line))
        let segment = UInt16(base >> 4)
        var start = Preparation(
            .real([
                .cs: segment + 0x20, .ds: segment, .es: segment, .fs: segment, .gs: segment, .ss: segment,
            ]), at: 0)
        start.registers[.rsp] = heapEnd
        return GuestImage(name: image.name, parts: parts, entry: .prepared(start))
    }

    // MARK: vmlinux

    static func vmlinux(_ image: ImageBytes, _ context: LoadContext) throws(MachineError) -> GuestImage {
        let elf = try ELFImage(image, context.layout)
        let note = try elf.file.notes(image).first(where: \.isPVHEntry)
        var build = LinuxBuild(context, kernel: elf.parts, taken: elf.extents)
        let mode = context.entry ?? (elf.file.is64Bit ? .long : .prot)
        switch mode {
        case .real:
            throw MachineError(
                .unsupported, "\(image.name) has no setup code for real mode", advice: .chooseEntry)
        case .prot:
            guard let entry = note?.bytes.long(at: 0) else {
                throw MachineError(
                    .unsupported, "\(image.name) has no PVH entry for protected mode", advice: .chooseEntry)
            }
            guard elf.extents.contains(where: { $0.contains(UInt64(entry)) }) else {
                throw MachineError(
                    .malformed,
                    "\(image.name) has its PVH entry at \(hex(entry)), where none of its segments is")
            }
            return try build.pvhImage(image.name, at: UInt64(entry))
        case .long:
            guard elf.file.is64Bit else {
                throw MachineError(
                    .unsupported, "\(image.name) is a 32-bit kernel, and not for 64-bit mode",
                    advice: .chooseEntry)
            }
            build.parameters = BootParameters(header: nil)
            try build.add(longest: 2047, highestInitrd: UInt64(UInt32.max))
            return try build.image(image.name, mode: .long, at: try elf.entry(image))
        }
    }

    // MARK: what both have

    /// A kernel and what is laid beside it.
    private struct LinuxBuild {
        let context: LoadContext
        var parts: [GuestImage.Part]
        var room: RoomFinder
        var parameters = BootParameters(header: nil)

        init(_ context: LoadContext, kernel: [GuestImage.Part], taken: [Range<UInt64>]) {
            self.context = context
            parts = kernel
            room = RoomFinder(context, taken: taken)
        }

        /// The command line, the initial RAM disk and the memory map.
        mutating func add(longest: Int, highestInitrd: UInt64) throws(MachineError) {
            let line = try context.linuxLine(longest)
            let place = try room.take("the command line", UInt64(line.count))
            parts.append(GuestImage.Part("command line", at: place, line))
            parameters.set(commandLine: place)
            if let disk = try context.initrdBytes() {
                let place = try room.takeHigh(
                    "the initial RAM disk", UInt64(disk.count), below: highestInitrd)
                parts.append(GuestImage.Part("initrd", at: place, disk))
                parameters.set(initrd: place, size: UInt64(disk.count))
            }
            parameters.set(memory: context.memoryMap)
            let tables = try FirmwareTables(context)
            parts += tables.parts
            parameters.set(rsdp: tables.rsdp)
        }

        mutating func image(_ name: String, mode: EntryMode, at entry: UInt64) throws(MachineError)
            -> GuestImage
        {
            let page = try room.take("boot_params", BootParameters.size)
            parts.append(GuestImage.Part("boot_params", at: page, parameters.bytes))
            var start: Preparation
            if mode == .long {
                let tables = try room.take("page tables", FlatTables.pageTableSize)
                parts.append(GuestImage.Part("page tables", at: tables, FlatTables.pageTables(at: tables)))
                start = Preparation(.long(pageTables: tables), at: entry)
            } else {
                start = Preparation(.protected, at: entry)
            }
            start.registers[.rsi] = page
            return try finish(name, &start, isLong: mode == .long)
        }

        /// EBX holds the address of `struct hvm_start_info`.
        mutating func pvhImage(_ name: String, at entry: UInt64) throws(MachineError) -> GuestImage {
            let line = try context.linuxLine(2047)
            let linePlace = try room.take("the command line", UInt64(line.count))
            parts.append(GuestImage.Part("command line", at: linePlace, line))
            let tables = try FirmwareTables(context)
            parts += tables.parts
            let map = context.memoryMap
            let place = try room.take("hvm_start_info", UInt64(56 + 32 + map.count * 24))
            var info: [UInt8] = []
            info.append(number: UInt32(0x336E_C578))
            info.append(number: UInt32(1))
            info.append(number: UInt32(0))
            let disk = try context.initrdBytes()
            info.append(number: UInt32(disk == nil ? 0 : 1))
            info.append(number: place + 56)
            info.append(number: linePlace)
            info.append(number: tables.rsdp)
            info.append(number: place + 88)
            info.append(number: UInt32(map.count))
            info.append(number: UInt32(0))
            if let disk {
                let module = try room.takeHigh("the initial RAM disk", UInt64(disk.count), below: 1 << 32)
                parts.append(GuestImage.Part("initrd", at: module, disk))
                info.append(number: module)
                info.append(number: UInt64(disk.count))
            } else {
                info.append(number: UInt64(0))
                info.append(number: UInt64(0))
            }
            // The module has no command line of its own, and there is a reserved field.
            info.append(number: UInt64(0))
            info.append(number: UInt64(0))
            for row in map {
                info.append(number: row.range.lowerBound)
                info.append(number: row.range.upperBound - row.range.lowerBound)
                info.append(number: row.type)
                info.append(number: UInt32(0))
            }
            parts.append(GuestImage.Part("hvm_start_info", at: place, info))
            var start = Preparation(.protected, at: entry)
            start.registers[.rbx] = place
            return try finish(name, &start, isLong: false)
        }

        private mutating func finish(
            _ name: String, _ start: inout Preparation, isLong: Bool
        ) throws(MachineError) -> GuestImage {
            start.code = code
            start.data = data
            let descriptors = FlatTables.descriptors(code: code, data: data, isLong: isLong)
            let table = try room.take("descriptors", UInt64(descriptors.count), alignment: 16)
            parts.append(GuestImage.Part("descriptors", at: table, descriptors))
            start.descriptors = DescriptorTable(base: table, limit: UInt16(descriptors.count - 1))
            return GuestImage(name: name, parts: parts, entry: .prepared(start))
        }
    }
}

extension BootParameters {
    mutating func set(code32 address: UInt64) { patch(UInt32(truncatingIfNeeded: address), at: 0x214) }
}

extension LoadContext {
    /// With its terminating 0.
    func linuxLine(_ longest: Int) throws(MachineError) -> [UInt8] {
        let line = commandLine ?? ""
        guard line.utf8.count <= longest else {
            throw MachineError(
                .unsupported,
                "the command line has \(line.utf8.count) bytes, and the kernel takes \(longest)",
                remedy: "give a shorter one")
        }
        guard !line.utf8.contains(0) else {
            throw MachineError(.unsupported, "the command line has a 0 in it, which would end it")
        }
        return Array(line.utf8) + [0]
    }

    /// The file, or nil where none was given.
    func initrdBytes() throws(MachineError) -> [UInt8]? {
        guard let initrd else { return nil }
        let limit = layout.size
        return try ImageFile.read(initrd, limit: limit) { count in
            MachineError(
                .oversized,
                "\(initrd) has \(count.map { "\($0) bytes" } ?? "no end"), and the guest has \(limit) bytes of RAM",
                remedy: "give more memory with -m")
        }
    }
}
