import DebugTarget
import X86

/// What a target can do beyond what every target can, found once.
struct TargetAbilities {
    let appearing: (any VCPUAppearing)?
    let detaching: (any Detaching)?
    /// It knows how long its guest was kept from running.
    let meter: (any StandstillMeasuring)?

    init(_ target: any Target) {
        appearing = target as? any VCPUAppearing
        detaching = target as? any Detaching
        meter = target as? any StandstillMeasuring
    }
}

/// What was counted up to the last stop, so that a stop can say what came since.
struct StopAccount {
    private(set) var exits: UInt64
    private var standstills: UInt64 = 0
    private var commonStops: UInt64 = 0

    init(exits: UInt64) { self.exits = exits }

    /// How many exits came since the last stop, if there are so many now.
    mutating func exitsSince(_ now: UInt64) -> UInt64 {
        defer { exits = now }
        return now &- exits
    }

    /// The standstill that ended when the guest was resumed for this stop, and how far apart the vCPUs were stopped for
    /// it, if they were.
    mutating func take(_ now: Standstills, into stop: inout Stop) {
        if now.count != standstills { stop.standstill = now.last }
        if now.commonStops != commonStops { stop.spread = now.spread }
        standstills = now.count
        commonStops = now.commonStops
    }
}

/// What was read of vCPUs beside the stops.
struct LiveState {
    /// Registers that were read while the guest ran, since it was resumed.
    var registers: [Int: VCPUSnapshot] = [:]
    /// What CPUID says of paging, of the vCPUs that it was needed of.
    var paging: [(vcpu: Int, features: PagingFeatures)] = []

    mutating func forgetRegisters() {
        if !registers.isEmpty { registers = [:] }
    }
}
