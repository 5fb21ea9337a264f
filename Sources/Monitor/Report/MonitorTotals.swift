/// What has been counted since the monitor began, for formats that want sums and never see them go back.
package struct MonitorTotals: Sendable {
    package struct Guest: Sendable {
        package var name: String
        package var vmm: String
        package var ram: UInt64?
        package var vcpus: [Int: VCPU] = [:]
        package var vcpuCount = 0
        /// With their histograms, over all vCPUs.
        package var reasons: [ReasonKey: Counter] = [:]
        /// Of ``CounterKind/emulation``, by the code of the return.
        package var emulation: [UInt64: Counter] = [:]
    }

    package struct VCPU: Sendable {
        package var reasons: [ReasonKey: UInt64] = [:]
        package var interrupts: UInt64 = 0
        /// Seconds; nil where they are not known.
        package var guest: Double?
        package var kernel: Double?
        package var user: Double?
        package var ready: Double?
    }

    /// By process: those that were there at the last sample.
    package private(set) var guests: [Int32: Guest] = [:]
    package private(set) var losses = Losses()
    package private(set) var seconds = 0.0

    package init() {}

    package mutating func add(_ sample: MonitorSample) {
        var places: [Int32: (process: Int32, vcpu: Int?)] = [:]
        var present: [Int32: Guest] = [:]
        for guest in sample.guests {
            var kept = guests[guest.process] ?? Guest(name: guest.name, vmm: guest.vmm)
            // Another guest in a process with the number of one that has ended.
            if kept.name != guest.name || kept.vmm != guest.vmm {
                kept = Guest(name: guest.name, vmm: guest.vmm)
            }
            kept.ram = guest.ram
            kept.vcpuCount = guest.vcpus.count
            places[guest.process] = (guest.process, nil)
            for vcpu in guest.vcpus {
                guard let thread = vcpu.thread else { continue }
                places[thread] = (guest.process, vcpu.id)
                var own = kept.vcpus[vcpu.id] ?? VCPU()
                if let share = sample.shares[thread] {
                    own.guest = (own.guest ?? 0) + share.guest * sample.seconds
                    own.kernel = (own.kernel ?? 0) + share.kernel * sample.seconds
                    own.user = (own.user ?? 0) + share.user * sample.seconds
                    own.ready = share.ready.map { (own.ready ?? 0) + $0 * sample.seconds }
                }
                kept.vcpus[vcpu.id] = own
            }
            present[guest.process] = kept
        }
        for cell in sample.cells {
            guard let place = places[cell.key.thread] else { continue }
            if let reason = ReasonKey(cell.key) {
                present[place.process]?.reasons[reason, default: Counter()].add(cell.counter)
                if let vcpu = place.vcpu {
                    present[place.process]?.vcpus[vcpu]?.reasons[reason, default: 0] &+= cell.counter.count
                }
            } else if cell.key.kind == .emulation {
                present[place.process]?.emulation[cell.key.code, default: Counter()].add(cell.counter)
            } else if cell.key.kind == .interrupt, let vcpu = place.vcpu {
                present[place.process]?.vcpus[vcpu]?.interrupts &+= cell.counter.count
            }
        }
        guests = present
        losses.add(sample.losses)
        seconds += sample.seconds
    }
}
