import DebugTarget
public import KVMCore
public import X86

/// State of a vCPU that no step needs: CPUID, MSRs, extended state, the local APIC, events. Read and set also
/// while the guest runs.
extension Debugger {
    public func cpuid(vcpu id: Int? = nil) throws(DebuggerError) -> CPUIDTable {
        try system(id, "reading CPUID") { vcpu in
            CPUIDTable(
                try vcpu.cpuid().map {
                    CPUIDLeaf(
                        function: $0.function, index: $0.hasIndex ? $0.index : nil, eax: $0.eax, ebx: $0.ebx,
                        ecx: $0.ecx, edx: $0.edx)
                })
        }
    }

    /// Sets one register of a leaf that there is. KVM takes it until the vCPU has run.
    public func setCPUID(
        _ function: UInt32, _ index: UInt32, _ register: CPUIDLeaf.Register, _ value: UInt32,
        vcpu id: Int? = nil
    ) throws(DebuggerError) {
        try changeSystem(id, "setting CPUID leaf \(hex(function))") { vcpu in
            var entries = try vcpu.cpuid()
            guard
                let place = entries.firstIndex(where: {
                    $0.function == function && (!$0.hasIndex || $0.index == index)
                })
            else {
                throw DebuggerError(
                    .unknownName, "CPUID has no leaf \(hex(function)) with index \(index)",
                    advice: .listCPUID)
            }
            switch register {
            case .eax: entries[place].eax = value
            case .ebx: entries[place].ebx = value
            case .ecx: entries[place].ecx = value
            case .edx: entries[place].edx = value
            }
            try vcpu.setCPUID(entries)
            // Some leaves are KVM's own to fill in, and a host may insist on others.
            let kept = try vcpu.cpuid()
            guard kept.indices.contains(place), kept[place] != entries[place] else { return }
            throw DebuggerError(
                .refused,
                "setting CPUID leaf \(hex(function)): KVM took it and kept eax \(hex(kept[place].eax)) "
                    + "ebx \(hex(kept[place].ebx)) ecx \(hex(kept[place].ecx)) edx \(hex(kept[place].edx))")
        }
        live.paging = []
    }

    /// The MSRs that the vCPU has: those that have a name and those that the host's KVM lists.
    public func msrs(vcpu id: Int? = nil) throws(DebuggerError) -> [MSRValue] {
        let listed = (target as? any MSRListing)?.msrIndexes ?? []
        let indexes = Set(ModelSpecificRegister.all.map(\.index)).union(listed).sorted()
        return try call(id, "reading the MSRs") { vcpu in
            indexes.compactMap { index in
                // KVM refuses an MSR that the vCPU does not have: then it is not one of its own.
                (try? vcpu.msr(index)).map { MSRValue(index: index, value: $0) }
            }
        }
    }

    public func extendedState(vcpu id: Int? = nil) throws(DebuggerError) -> (XCR0, ExtendedState) {
        try system(id, "reading the extended state") { vcpu in
            let xcr0 = try vcpu.xcrs().first { $0.index == 0 }?.value ?? 0
            let table = CPUIDTable(
                try vcpu.cpuid().map {
                    CPUIDLeaf(
                        function: $0.function, index: $0.hasIndex ? $0.index : nil, eax: $0.eax, ebx: $0.ebx)
                })
            return (
                XCR0(rawValue: xcr0),
                ExtendedState(bytes: try vcpu.xsave().bytes, enabled: XCR0(rawValue: xcr0)) {
                    table.extendedStateLayout($0)
                }
            )
        }
    }

    /// Overwrites a part of a component of the XSAVE area, and marks the component as in use.
    /// - Parameter offset: in the component.
    public func setExtendedState(
        component number: Int, offset: Int, _ bytes: [UInt8], vcpu id: Int? = nil
    ) throws(DebuggerError) {
        let (_, state) = try extendedState(vcpu: id)
        guard let component = state.components.first(where: { $0.number == number }),
            let range = component.range, offset >= 0, offset <= range.count - bytes.count
        else {
            throw DebuggerError(
                .refused, "XCR0 does not enable this part of the state",
                advice: .listExtendedState)
        }
        try changeSystem(id, "setting the extended state") { vcpu in
            var area = try vcpu.xsave()
            // What was not in use is as at reset, whatever its bytes were.
            let isInUse = area.bytes[512 + number / 8] >> UInt8(number % 8) & 1 == 1
            if !isInUse, number >= 2 { for place in range { area.bytes[place] = 0 } }
            area.bytes.replaceSubrange(
                range.lowerBound + offset..<range.lowerBound + offset + bytes.count, with: bytes)
            area.bytes[512 + number / 8] |= 1 << UInt8(number % 8)
            try vcpu.setXSAVE(area)
        }
    }

    public func setXCR(_ index: UInt32, _ value: UInt64, vcpu id: Int? = nil) throws(DebuggerError) {
        try changeSystem(id, "setting XCR\(index)") { vcpu in
            var registers = try vcpu.xcrs()
            guard let place = registers.firstIndex(where: { $0.index == index }) else {
                throw DebuggerError(.unknownName, "the vCPU has no XCR\(index)")
            }
            registers[place].value = value
            try vcpu.setXCRs(registers)
        }
    }

    public func setLocalAPIC(
        register offset: Int, _ value: UInt32, vcpu id: Int? = nil
    ) throws(DebuggerError) {
        try changeSystem(id, "setting the local APIC") { vcpu in
            var state = try vcpu.localAPIC()
            state[offset] = value
            try vcpu.setLocalAPIC(state)
        }
    }

    public func setEvent(
        _ field: EventField, _ value: UInt64, vcpu id: Int? = nil
    ) throws(DebuggerError) {
        guard value <= field.mask else {
            throw DebuggerError(
                .outOfRange, "\(hex(value)) does not fit in \(field.name), which has \(field.width) bits")
        }
        try change(id, "setting \(field.name)") { vcpu in
            var events = try vcpu.events()
            field.set(&events, value)
            try vcpu.setEvents(events)
        }
    }

    public func setMPState(_ state: MPState, vcpu id: Int? = nil) throws(DebuggerError) {
        try change(id, "setting the MP state") { vcpu in try vcpu.setMPState(state) }
    }

    // MARK: -

    /// A call that only a real vCPU has.
    private func system<R: Sendable>(
        _ id: Int?, _ attempt: String, _ body: @escaping @Sendable (any VCPUSystemAccess) throws -> R
    ) throws(DebuggerError) -> R {
        try call(id, attempt) { vcpu in
            guard let vcpu = vcpu as? any VCPUSystemAccess else { throw Self.cannot(attempt) }
            return try body(vcpu)
        }
    }

    private func changeSystem(
        _ id: Int?, _ attempt: String, _ body: @escaping @Sendable (any VCPUSystemAccess) throws -> Void
    ) throws(DebuggerError) {
        try change(id, attempt) { vcpu in
            guard let vcpu = vcpu as? any VCPUSystemAccess else { throw Self.cannot(attempt) }
            try body(vcpu)
        }
    }

    private static func cannot(_ attempt: String) -> DebuggerError {
        DebuggerError(.target, "\(attempt): this kind of guest has no such call")
    }

    /// Changes a vCPU and reads it back; what KVM refuses is told as that.
    private func change(
        _ id: Int?, _ attempt: String, _ body: @escaping @Sendable (any VCPUAccess) throws -> Void
    ) throws(DebuggerError) {
        let vcpu = try vcpu(id ?? selectedVCPU)
        let (driver, activity, isRunning) = (vcpu.driver, vcpu.snapshot.activity, isRunning)
        let snapshot = try call(vcpu.id, attempt) { vcpu in
            do {
                try body(vcpu)
            } catch let error as KVMError {
                throw DebuggerError(
                    .refused, "\(attempt): KVM refused it (\(error.operation): \(error.errno))",
                    remedy: error.advice ?? "nothing was changed")
            }
            return try driver.edited(vcpu, activity: activity, running: isRunning)
        }
        refresh(snapshot)
    }
}
