import DebugTarget
import X86

/// What an ELF file puts into memory, checked against the guest's RAM before anything of it is read.
struct ELFImage {
    let file: ELFFile
    /// The bytes of each segment, at its physical address.
    let parts: [GuestImage.Part]
    /// What the segments take, with the memory that is zero after their bytes.
    let extents: [Range<UInt64>]

    init(_ image: ImageBytes, _ layout: RAMLayout) throws(MachineError) {
        let file = try ELFFile(image)
        self.file = file
        let loads = file.segments.filter { $0.type == ELFFile.Segment.load && $0.memorySize > 0 }
        guard !loads.isEmpty else {
            throw MachineError(
                .malformed, "\(image.name) has no segment that is loaded: there is nothing to run")
        }
        let place = Self.placement(loads)
        var extents: [Range<UInt64>] = []
        for segment in loads {
            let start = place(segment)
            guard segment.fileSize <= segment.memorySize else {
                throw MachineError(
                    .malformed,
                    "\(image.name): the segment at \(hex(start)) has \(segment.fileSize) bytes in the file and "
                        + "\(segment.memorySize) in memory")
            }
            let name = "\(image.name)'s segment"
            guard segment.memorySize <= (try layout.room(for: name, at: start)) else {
                throw layout.oversized(name, segment.memorySize, at: start)
            }
            let extent = start..<start + segment.memorySize
            if let other = extents.first(where: { $0.overlaps(extent) }) {
                throw MachineError(
                    .malformed,
                    "\(image.name): its segments at \(hex(other.lowerBound)) and \(hex(start)) overlap")
            }
            extents.append(extent)
        }
        self.extents = extents
        var parts: [GuestImage.Part] = []
        for (segment, extent) in zip(loads, extents) where segment.fileSize > 0 {
            parts.append(
                GuestImage.Part(
                    "segment", at: extent.lowerBound,
                    try image.bytes(
                        segment.offset, segment.fileSize, "the segment at \(hex(extent.lowerBound))")))
        }
        self.parts = parts
    }

    /// Where segments go: their physical addresses or, where a linker left all of those 0, their virtual ones.
    private static func placement(_ loads: [ELFFile.Segment]) -> (ELFFile.Segment) -> UInt64 {
        let hasPhysical = loads.contains { $0.physical != 0 }
        return { hasPhysical ? $0.physical : $0.virtual }
    }

    /// Where the first instruction is in memory: the entry of a kernel that is linked for high addresses is a virtual
    /// one.
    func entry(_ image: ImageBytes) throws(MachineError) -> UInt64 {
        let loads = file.segments.filter { $0.type == ELFFile.Segment.load && $0.memorySize > 0 }
        let place = Self.placement(loads)
        if extents.contains(where: { $0.contains(file.entry) }) { return file.entry }
        if let segment = loads.first(where: { $0.holds(file.entry) }) {
            return place(segment) + (file.entry - segment.virtual)
        }
        throw MachineError(
            .malformed, "\(image.name) starts at \(hex(file.entry)), where none of its segments is")
    }
}

/// Starts an ELF program with no protocol: the registers are 0 but for a stack. What it is given lies at the end of RAM,
/// because programs take low memory for their own without a word.
enum ELFLoader {
    static let stackSize: UInt64 = 16 << 10

    static func load(_ image: ImageBytes, _ context: LoadContext) throws(MachineError) -> GuestImage {
        try context.refuse(
            commandLine: true, initrd: true, image.name, "an ELF program without a boot protocol")
        let elf = try ELFImage(image, context.layout)
        let entry = try elf.entry(image)
        var room = RoomFinder(context, taken: elf.extents)
        let mode = context.entry ?? (elf.file.is64Bit ? .long : .prot)
        var start: Preparation
        var parts = elf.parts
        switch mode {
        case .real:
            guard entry < 1 << 20 else {
                throw MachineError(
                    .unsupported, "\(image.name) starts at \(hex(entry)), and real mode reaches 1 MiB",
                    advice: .chooseEntry)
            }
            start = Preparation(.real([.cs: UInt16((entry >> 16) << 12)]), at: entry & 0xFFFF)
            start.registers[.rsp] = GuestImage.bootAddress
            return GuestImage(name: image.name, parts: parts, entry: .prepared(start))
        case .prot:
            guard entry < 1 << 32 else {
                throw MachineError(
                    .unsupported, "\(image.name) starts at \(hex(entry)), and protected mode reaches 4 GiB",
                    advice: .chooseEntry)
            }
            start = Preparation(.protected, at: entry)
        case .long:
            guard elf.file.machine == .amd64 else {
                throw MachineError(
                    .unsupported, "\(image.name) is a 32-bit program, and not for 64-bit mode",
                    advice: .chooseEntry)
            }
            let tables = try room.takeHigh("page tables", FlatTables.pageTableSize, below: 1 << 32)
            parts.append(GuestImage.Part("page tables", at: tables, FlatTables.pageTables(at: tables)))
            start = Preparation(.long(pageTables: tables), at: entry)
        }
        let descriptors = FlatTables.descriptors(code: start.code, data: start.data, isLong: mode == .long)
        let table = try room.takeHigh("descriptors", UInt64(descriptors.count), below: 1 << 32)
        parts.append(GuestImage.Part("descriptors", at: table, descriptors))
        start.descriptors = DescriptorTable(base: table, limit: UInt16(descriptors.count - 1))
        start.registers[.rsp] = try room.takeHigh("a stack", stackSize, below: 1 << 32) + stackSize
        return GuestImage(name: image.name, parts: parts, entry: .prepared(start))
    }
}

extension LoadContext {
    /// Says of an option that it is for another kind of image.
    func refuse(commandLine: Bool, initrd: Bool, _ name: String, _ kind: String) throws(MachineError) {
        guard commandLine && self.commandLine != nil || initrd && self.initrd != nil else { return }
        let what = commandLine && self.commandLine != nil ? "command line" : "initial RAM disk"
        throw MachineError(.unsupported, "\(name) is \(kind), which takes no \(what)", advice: .chooseKind)
    }
}
