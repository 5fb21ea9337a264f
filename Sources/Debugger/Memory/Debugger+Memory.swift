import DebugTarget
public import X86

/// Addresses and memory. Nothing here stops the guest: while it runs, segments and page tables are those last
/// known (of the stop before, or of ``Debugger/liveSnapshot(vcpu:)``), and the bytes are those of the moment.
extension Debugger {
    /// The most bytes that one call reads or writes.
    public static let maximumTransfer = 256 << 20

    /// The linear address that `address` stands for, seen from a vCPU (the selected one by default).
    ///
    /// - A segment register adds its cached base.
    /// - A selector that a segment register holds (CS first) adds that one's cached base; otherwise it is a
    ///   paragraph in real and virtual-8086 mode and names a descriptor in protected mode. In 64-bit mode only
    ///   FS and GS have a base.
    ///
    /// - Throws: `.badAddress` for a physical address, or where the selector names no descriptor.
    public func linear(_ address: Address, vcpu: Int? = nil) throws(DebuggerError) -> UInt64 {
        let snapshot = try known(vcpu)
        return try view(of: snapshot).linear(address, snapshot.registers)
    }

    /// The guest-physical address that `address` stands for, through the page tables.
    ///
    /// - Throws: `.unreadable` where the page is not mapped; the message says at which level.
    public func physical(_ address: Address, vcpu: Int? = nil) throws(DebuggerError) -> UInt64 {
        if case .physical(let value) = address { return value }
        let walk = try walk(address, vcpu: vcpu)
        if let gpa = walk.gpa { return gpa }
        throw DebuggerError(.unreadable, "\(address) is not mapped: \(walk.outcome)")
    }

    /// The page walk of an address, each level with its entry.
    public func walk(_ address: Address, vcpu: Int? = nil) throws(DebuggerError) -> PageWalk {
        let view = try view(vcpu)
        return view.walk(try view.linear(address, try known(vcpu).registers))
    }

    /// Reads memory. What cannot be read is a gap of the image, not an error.
    ///
    /// - Throws: `.outOfRange` for a count below 0 or over ``maximumTransfer``, `.badAddress` for an address that
    ///   stands for nothing.
    public func readMemory(
        _ address: Address, count: Int, vcpu: Int? = nil
    ) throws(DebuggerError) -> MemoryImage {
        try checkTransfer(count)
        let view = view(of: try known(vcpu))
        if case .physical(let gpa) = address {
            return view.readPhysical(gpa, count: count, address)
        }
        return view.read(try linear(address, vcpu: vcpu), count: count, address)
    }

    /// Writes memory, all or nothing. Page permissions do not bind a debugger.
    ///
    /// - Throws: `.unreadable` naming the first byte that is not there, `.target` where it is only assumed which memory of
    ///   another program the guest's is; nothing was written then.
    public func writeMemory(
        _ address: Address, _ bytes: [UInt8], vcpu: Int? = nil
    ) throws(DebuggerError) {
        try checkTransfer(bytes.count)
        try checkPresent("writing memory")
        if isMemoryGuessed() {
            throw DebuggerError(
                .target,
                "nothing is written by a guess: which memory of the VMM the guest's is was not told by the kernel, and "
                    + "page tables of the guest that would confirm it are not in use")
        }
        let view = view(of: try known(vcpu))
        let pieces: [LinearMemory.Piece]
        if case .physical(let gpa) = address {
            pieces = [LinearMemory.Piece(gpa: gpa, range: 0..<bytes.count)]
        } else {
            pieces = try view.pieces(try linear(address, vcpu: vcpu), count: bytes.count, address)
        }
        guard isRunning, let watches = placement.armed?.watches, !watches.isEmpty else {
            try view.write(pieces, bytes, address)
            if !isRunning { stop.edits += 1 }
            return
        }
        // What is written here is no write of the guest's, which is found by a comparison.
        try whileHeld { () throws(DebuggerError) in
            try view.write(pieces, bytes, address)
            for watch in watches { watch.remember(memory) }
        }
    }

    func view(of snapshot: VCPUSnapshot) -> LinearMemory {
        view(snapshot.id, snapshot.special)
    }

    /// As ``known(_:)`` has the vCPU, of which no more is copied than is needed: a walk is short.
    private func view(_ id: Int?) throws(DebuggerError) -> LinearMemory {
        let id = id ?? selectedVCPU
        guard !isRunning, let place = stop.place(of: id) else { return view(of: try known(id)) }
        return view(id, stop.vcpus[place].special)
    }

    func view(_ id: Int, _ special: SpecialRegisters) -> LinearMemory {
        LinearMemory(
            memory: memoryInSight, special: special,
            features: pagingFeatures(vcpu: id, isPaging: special.cr0.contains(.pg)))
    }

    private func checkTransfer(_ count: Int) throws(DebuggerError) {
        guard (0...Self.maximumTransfer).contains(count) else {
            throw DebuggerError(
                .outOfRange, "\(count) bytes at once",
                remedy: "give 0 to \(Self.maximumTransfer) (\(Self.maximumTransfer >> 20) MiB)")
        }
    }
}
