import X86

/// What firmware leaves in memory for a kernel to find: ACPI's tables and, where there are APICs, the MP table.
///
/// Sources: ACPI 6.5, 5.2; MultiProcessor Specification 1.4, chapter 4.
struct FirmwareTables {
    /// Where a kernel searches for the RSDP (ACPI 6.5, 5.2.5.1), below the BIOS's own 64 KiB.
    static let start: UInt64 = 0xE0000
    static let end: UInt64 = 0xF0000
    /// In the last KiB of base memory, where the MP table's pointer is looked for.
    static let multiprocessorPointer: UInt64 = 0x9FFF0

    /// Where I/O APIC and local APICs are.
    static let localAPIC: UInt32 = 0xFEE0_0000
    static let ioAPIC: UInt32 = 0xFEC0_0000

    /// The power registers' ports: ACPI's PM1a event block, four bytes, and the control register after it.
    static let powerEvents: UInt16 = 0x600
    static let powerControl: UInt16 = 0x604
    /// SCI, the interrupt of ACPI's events; none are raised.
    static let systemControlInterrupt: UInt16 = 9

    private(set) var parts: [GuestImage.Part] = []
    let rsdp: UInt64
    /// The RSDP itself, 36 bytes.
    let pointer: [UInt8]

    /// - Throws: where there are more vCPUs than the tables have room for.
    init(_ context: LoadContext) throws(MachineError) {
        var builder = Builder()
        let rsdp = builder.reserve(36)
        let facs = builder.add(aligned: 64, Self.facs)
        let dsdt = builder.add(aligned: 16, Self.table("DSDT", revision: 2, Self.sleepState))
        let fadt = builder.add(aligned: 16, Self.fixed(facs: facs, dsdt: dsdt))
        var listed = [fadt]
        if context.hasAPICs {
            listed.append(builder.add(aligned: 16, Self.processors(context.vcpus)))
        }
        var narrow: [UInt8] = []
        var wide: [UInt8] = []
        for address in listed {
            narrow.append(number: UInt32(address))
            wide.append(number: address)
        }
        let rsdt = builder.add(aligned: 16, Self.table("RSDT", revision: 1, narrow))
        let xsdt = builder.add(aligned: 16, Self.table("XSDT", revision: 1, wide))
        pointer = Self.root(rsdt: rsdt, xsdt: xsdt)
        builder.put(pointer, at: rsdp)
        var floating: [UInt8]?
        if context.hasAPICs {
            let table = builder.add(aligned: 16, MultiprocessorTable.bytes(vcpus: context.vcpus))
            floating = MultiprocessorTable.pointer(to: table)
        }
        guard builder.end <= Self.end else {
            throw MachineError(
                .configuration, "the tables of \(context.vcpus) vCPUs do not fit below \(hex(Self.end))",
                remedy: "give fewer vCPUs")
        }
        guard context.lowEnd >= Self.end else {
            // A guest with so little RAM has no place for them, and no kernel that reads them fits there.
            self.rsdp = 0
            return
        }
        self.rsdp = rsdp
        parts = [GuestImage.Part("ACPI tables", at: Self.start, builder.bytes)]
        if let floating {
            parts.append(GuestImage.Part("MP pointer", at: Self.multiprocessorPointer, floating))
        }
    }

    /// Tables one after the other, from ``start`` on.
    private struct Builder {
        var bytes: [UInt8] = []
        var end: UInt64 { FirmwareTables.start + UInt64(bytes.count) }

        mutating func reserve(_ count: Int) -> UInt64 {
            let place = end
            bytes += [UInt8](repeating: 0, count: count)
            return place
        }

        mutating func add(aligned alignment: Int, _ table: [UInt8]) -> UInt64 {
            while bytes.count % alignment != 0 { bytes.append(0) }
            let place = end
            bytes += table
            return place
        }

        mutating func put(_ table: [UInt8], at place: UInt64) {
            let offset = Int(place - FirmwareTables.start)
            bytes.replaceSubrange(offset..<offset + table.count, with: table)
        }
    }

    // MARK: the tables

    /// What makes all of the bytes sum to 0.
    static func checksum(_ bytes: some Sequence<UInt8>) -> UInt8 { 0 &- bytes.reduce(0, &+) }

    private static func text(_ text: String, _ count: Int) -> [UInt8] {
        Array((Array(text.utf8) + [UInt8](repeating: 0x20, count: count)).prefix(count))
    }

    /// A header of 36 bytes, then `body` (ACPI 6.5, 5.2.6).
    static func table(_ signature: String, revision: UInt8, _ body: [UInt8]) -> [UInt8] {
        var table = text(signature, 4)
        table.append(number: UInt32(36 + body.count))
        table += [revision, 0]
        table += text("KVMSCP", 6)
        table += text("KVMSCOPE", 8)
        table.append(number: UInt32(1))
        table += text("KVSC", 4)
        table.append(number: UInt32(1))
        table += body
        table[9] = checksum(table)
        return table
    }

    private static func root(rsdt: UInt64, xsdt: UInt64) -> [UInt8] {
        var root = text("RSD PTR ", 8)
        root.append(0)
        root += text("KVMSCP", 6)
        root.append(2)
        root.append(number: UInt32(rsdt))
        root.append(number: UInt32(36))
        root.append(number: xsdt)
        root += [0, 0, 0, 0]
        // The first 20 bytes have a sum of their own.
        root[8] = checksum(root.prefix(20))
        root[32] = checksum(root)
        return root
    }

    /// Firmware ACPI control structure: nothing waits, nothing is locked.
    private static var facs: [UInt8] {
        var facs = [UInt8](repeating: 0, count: 64)
        facs.replaceSubrange(0..<4, with: text("FACS", 4))
        facs.put(UInt32(64), at: 4)
        facs[32] = 1
        return facs
    }

    /// `Name (_S5_, Package () {0, 0, 0, 0})`: SLP_TYP 0 switches off (ACPI 6.5, 7.4.2.6 and 20.2).
    private static let sleepState: [UInt8] =
        [0x08, 0x5F, 0x53, 0x35, 0x5F, 0x12, 0x06, 0x04, 0x00, 0x00, 0x00, 0x00]

    /// FADT of revision 3: power-off by PM1a, reset by port CF9h.
    private static func fixed(facs: UInt64, dsdt: UInt64) -> [UInt8] {
        // Offsets are the table's own, less its header.
        var body = [UInt8](repeating: 0, count: 244 - 36)
        func put<T: FixedWidthInteger & UnsignedInteger>(_ value: T, _ offset: Int) {
            body.put(value, at: offset - 36)
        }
        /// A generic address: system I/O, a width in bits, an access size.
        func io(_ port: UInt16, bits: UInt8, access: UInt8, _ offset: Int) {
            put(UInt8(1), offset)
            put(bits, offset + 1)
            put(access, offset + 3)
            put(UInt64(port), offset + 4)
        }
        put(UInt32(facs), 36)
        put(UInt32(dsdt), 40)
        put(systemControlInterrupt, 46)
        put(UInt32(powerEvents), 56)
        put(UInt32(powerControl), 64)
        put(UInt8(4), 88)
        put(UInt8(2), 89)
        // C2 and C3 are not there.
        put(UInt16(0xFFFF), 96)
        put(UInt16(0xFFFF), 98)
        // Legacy devices and an 8042.
        put(UInt16(3), 109)
        // WBINVD, C1 on all processors, no power or sleep button in the fixed registers, a reset register.
        put(UInt32(0x435), 112)
        io(0xCF9, bits: 8, access: 1, 116)
        put(UInt8(6), 128)
        put(facs, 132)
        put(dsdt, 140)
        io(powerEvents, bits: 32, access: 2, 148)
        io(powerControl, bits: 16, access: 2, 172)
        return table("FACP", revision: 3, body)
    }

    /// MADT: a local APIC for each vCPU, one I/O APIC whose pins are the ISA interrupts, LINT1 for NMI.
    private static func processors(_ count: Int) -> [UInt8] {
        var body: [UInt8] = []
        body.append(number: localAPIC)
        // There are 8259s, too.
        body.append(number: UInt32(1))
        for id in 0..<count {
            if id < 255 {
                body += [0, 8, UInt8(id), UInt8(id)]
                body.append(number: UInt32(1))
            } else {
                body += [9, 16, 0, 0]
                body.append(number: UInt32(id))
                body.append(number: UInt32(1))
                body.append(number: UInt32(id))
            }
        }
        body += [1, 12, MultiprocessorTable.ioAPICID(vcpus: count), 0]
        body.append(number: ioAPIC)
        body.append(number: UInt32(0))
        // NMI at LINT1 of every processor.
        body += [4, 6, 0xFF, 0, 0, 1]
        return table("APIC", revision: 3, body)
    }
}

/// The configuration table of the MultiProcessor Specification 1.4, for kernels older than ACPI's.
enum MultiprocessorTable {
    /// Processors that have an id of 8 bits, without the one that means all.
    static let mostProcessors = 254

    static func ioAPICID(vcpus: Int) -> UInt8 { UInt8(min(vcpus, mostProcessors)) }

    static func bytes(vcpus: Int) -> [UInt8] {
        var entries: [UInt8] = []
        var count = 0
        func add(_ entry: [UInt8]) {
            entries += entry
            count += 1
        }
        for id in 0..<min(vcpus, mostProcessors) {
            // An APIC of version 14h that is enabled; the first is the boot processor; family 6, and an APIC on chip.
            var entry: [UInt8] = [0, UInt8(id), 0x14, id == 0 ? 3 : 1, 0x00, 0x06, 0, 0, 0x01, 0x02, 0, 0]
            entry += [UInt8](repeating: 0, count: 8)
            add(entry)
        }
        let ioAPIC = ioAPICID(vcpus: vcpus)
        add([1, 0, 0x49, 0x53, 0x41, 0x20, 0x20, 0x20])
        var chip: [UInt8] = [2, ioAPIC, 0x11, 1]
        chip.append(number: FirmwareTables.ioAPIC)
        add(chip)
        // Vectored interrupts: each ISA interrupt is the pin of its number. 2 is the cascade.
        for interrupt: UInt8 in 0..<16 where interrupt != 2 {
            add([3, 0, 0, 0, 0, interrupt, ioAPIC, interrupt])
        }
        // ExtINT at LINT0 and NMI at LINT1 of all.
        add([4, 3, 0, 0, 0, 0, 0xFF, 0])
        add([4, 1, 0, 0, 0, 0, 0xFF, 1])

        var table = Array("PCMP".utf8)
        table.append(number: UInt16(44 + entries.count))
        table += [4, 0]
        table += Array("KVMSCOPEMACHINE     ".utf8)
        table.append(number: UInt32(0))
        table.append(number: UInt16(0))
        table.append(number: UInt16(count))
        table.append(number: FirmwareTables.localAPIC)
        table.append(number: UInt32(0))
        table += entries
        table[7] = FirmwareTables.checksum(table)
        return table
    }

    /// The floating pointer structure, 16 bytes.
    static func pointer(to table: UInt64) -> [UInt8] {
        var pointer = Array("_MP_".utf8)
        pointer.append(number: UInt32(table))
        pointer += [1, 4, 0, 0, 0, 0, 0, 0]
        pointer[10] = FirmwareTables.checksum(pointer)
        return pointer
    }
}
