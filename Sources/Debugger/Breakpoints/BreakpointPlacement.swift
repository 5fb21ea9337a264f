import DebugTarget

/// The breakpoints, and what they take of the guest.
struct BreakpointPlacement {
    var table = BreakpointTable()
    /// What the drivers have, unless it changed since.
    var armed: ArmedSet?
    /// The pages that are protected, and how.
    var protections: [UInt64: PageAccess] = [:]
    /// Of which MSRs writes leave the guest.
    var trappedMSRs = TrappedMSRs.none
    /// The page tables by which breakpoints were placed last.
    var placedBy: PlacedBy?
    /// What the code ahead is about to read.
    var forecast = KnownForecast()
    /// Watchpoints that the guest itself asked for, by port 0x8A00.
    var watchedByGuest: [Int] = []
}
