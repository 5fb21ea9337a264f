public import DebugTarget
import Host
import KVMCore

extension AttachedTarget: Detaching {
    /// Puts everything back and lets the VMM go on untraced. Every later call throws.
    @discardableResult
    public func detach() throws -> Detachment {
        guard !isDetached else { throw Self.detachedError }
        guard
            case .released(let threads, let debug, let pages, let patches, let stood) = try client.ask(
                .detach)
        else {
            throw HostGuestError(.tracer, "the tracer did not answer the order to detach")
        }
        isDetached = true
        // What its memory is from now on is none of ours.
        attachedMemory.replace(GuestMemoryMap(regions: [], source: .none))
        statistics = nil
        if stood > 0 { add(standstill: stood) }
        return Detachment(
            process: guest.process, threads: Int(threads), guestDebug: Int(debug), runPages: Int(pages),
            patchedBytes: Int(patches),
            standstill: stood > 0 ? .nanoseconds(Int64(clamping: stood)) : nil)
    }

    static let detachedError = HostGuestError(
        .detached, "the guest was detached", remedy: "attach again to go on debugging it")
}

extension AttachedTarget: StandstillMeasuring {
    func add(standstill: UInt64) {
        let time = Duration.nanoseconds(Int64(clamping: standstill))
        standstills.count &+= 1
        standstills.last = time
        standstills.total += time
    }

    /// What the answer to a stop tells.
    func note(spread: UInt64) {
        guard spread > 0 else { return }
        standstills.commonStops &+= 1
        standstills.spread = .nanoseconds(Int64(clamping: spread))
    }

    /// What an event tells of the standstill before it.
    func count(_ event: TracerReply.Event) {
        if event.stood > 0 { add(standstill: event.stood) }
    }

    /// Asks the tracer: after what no event tells of.
    func measure() {
        guard case .standstills(let count, let last, let total)? = try? client.ask(.standstills) else {
            return
        }
        standstills.count = count
        standstills.last = .nanoseconds(Int64(clamping: last))
        standstills.total = .nanoseconds(Int64(clamping: total))
        // What came with the answer is not in the socket any more, which is what front ends wait at.
        if client.hasEvents { client.nudge() }
    }

    /// After something was done to a guest that otherwise runs.
    func resumeHeldMeasured() {
        resumeHeld()
        measure()
    }
}

extension AttachedTarget: SourceProviding {
    public var valueSources: [ValueSource] {
        guard !isDetached else {
            return ValueSource.Kind.allCases.map {
                ValueSource($0, .none, .unknown, missing: [.init(.none, "\(Self.detachedError)")])
            }
        }
        var sources: [ValueSource] = members.map { member in
            let why = whyNotSynced(member)
            return ValueSource(
                .registers, vcpu: members.count > 1 ? member.identity.id : nil,
                why == nil ? .syncRegisters : .injectedCalls, registersAge(vcpu: member.identity.id),
                missing: why.map { [.init(.syncRegisters, $0)] } ?? [])
        }
        sources.append(ValueSource(.otherRegisters, .injectedCalls, .live))
        sources.append(ValueSource(.memory, .processMemory, .live))
        sources.append(mapSource)
        sources.append(
            statistics == nil
                ? ValueSource(
                    .statistics, .none, .unknown,
                    missing: [
                        .init(
                            .statisticsDescriptor,
                            "not opened yet: that takes one short stop of the guest")
                    ])
                : ValueSource(.statistics, .statisticsDescriptor, .live))
        let seesExits =
            phase == .running && members.contains { $0.isOut && $0.controller?.seesHandledExits == true }
        sources.append(
            ValueSource(
                .exits, .tracedExits, seesExits ? .live : .lastStop(sinceHeld),
                missing: seesExits
                    ? [] : [.init(.tracedExits, "only those of steps are seen; the statistics count all")]))
        sources.append(threadSource)
        return sources
    }

    /// Why its registers are not those that KVM leaves at each exit; nil where they are.
    private func whyNotSynced(_ member: AttachedVCPU) -> String? {
        if !member.hasRegisters {
            return "/dev/kvm cannot be asked, or has no KVM_CAP_SYNC_REGS; the guest is stopped for them"
        }
        if member.isUntouched {
            return "it has not been in KVM_RUN yet: all threads of the VMM are stopped for them, for a moment"
        }
        if phase != .held, !member.checkForRegisters() {
            return "it has not left KVM_RUN since kvmscope is attached; the guest is stopped for them"
        }
        return nil
    }

    public func registersAge(vcpu id: Int) -> ValueAge {
        guard !isDetached, let member = members.first(where: { $0.identity.id == id }) else {
            return .unknown
        }
        if phase != .held, let age = member.rememberedAge { return .read(age) }
        if phase == .held || !member.hasRegisters || !member.checkForRegisters() { return .live }
        return .lastExit(unchanged: member.unchanged)
    }

    private var sinceHeld: Duration {
        heldSince == 0 ? .zero : .nanoseconds(Int64(clamping: monotonicTime() &- heldSince))
    }

    private var mapSource: ValueSource {
        let age = ValueAge.read(attachedMemory.age)
        return switch attachedMemory.source {
        case .kernel: ValueSource(.memoryMap, .kernelMemory, age)
        case .calls(let isChecked):
            ValueSource(.memoryMap, .watchedCalls, age, isChecked: isChecked, missing: mapMissing)
        case .search(let isChecked):
            ValueSource(.memoryMap, .largestMapping, age, isChecked: isChecked, missing: mapMissing)
        case .none: ValueSource(.memoryMap, .none, .unknown, missing: mapMissing)
        }
    }

    private var threadSource: ValueSource {
        let way: ValueSource.Way =
            switch guest.vcpus.compactMap(\.threadSource).first ?? .stopped {
            case .kernel: .kernelVCPU
            case .debugfs: .debugfs
            case .systemCall: .threadSystemCall
            case .name: .threadName
            case .calls: .watchedCalls
            case .stopped: .stoppedThread
            }
        if members.contains(where: \.isAbsent) {
            return ValueSource(
                .threads, .none, .unknown,
                missing: [.init(.kernelVCPU, "no thread of the VMM was seen to run the vCPU yet")])
        }
        return ValueSource(.threads, way, .read(attachedMemory.age))
    }
}

extension AttachedTarget: StatisticsProviding {
    /// The first call stops the guest for a moment: the descriptors have to be made in the VMM.
    public func kernelStatistics() throws -> [KernelStatistics] {
        guard !isDetached else { throw Self.detachedError }
        if statistics == nil {
            let wasHeld = phase == .held
            try hold()
            defer { if !wasHeld { resumeHeldMeasured() } }
            statistics = try StatisticsReaders(guest, members, client)
        }
        return try statistics?.read() ?? []
    }
}

extension HostGuest {
    /// With the threads that only a look at them tells.
    func withThreads(_ client: TracerClient) throws(HostGuestError) -> HostGuest {
        guard vcpus.contains(where: { $0.thread == nil && !$0.isUntouched }) else { return self }
        guard case .found(let found) = try client.ask(.find(process: process, threads: busyThreads)) else {
            throw HostGuestError(.tracer, "the tracer did not say which threads run the vCPUs")
        }
        var guest = self
        for index in vcpus.indices where vcpus[index].thread == nil && !vcpus[index].isUntouched {
            // One in whose KVM_RUN no thread was is one that none runs for now: whoever does later is caught there.
            guard let match = found.first(where: { $0.descriptor == vcpus[index].descriptor }) else {
                continue
            }
            guest.vcpus[index].thread = match.thread
            guest.vcpus[index].threadSource = .stopped
        }
        return guest
    }
}
