import DebugTarget
import KVMCore
import X86

/// What one run of a vCPU came to. Made by whoever ran the vCPU when the run is over, and handed to the debugger once:
/// nothing else of a run is ever looked at from outside.
struct RunOutcome: Sendable {
    /// The vCPU where it stopped.
    var snapshot: VCPUSnapshot
    /// Instructions that were stepped.
    var steps = 0
    /// The last step went over a HLT.
    var passedHalt = false
    /// It sleeps in a HLT that nothing will end: it does not go on with the others.
    var isParked = false
    /// A step covered two instructions.
    var steppedTwo = false
    /// Code was stepped that this host was seen not to single-step: what kind.
    var unsteppable: CodeContext?
    /// The host does not single-step the code at hand.
    var isLost = false
    /// Numbers of the breakpoints, watchpoints and catchpoints that were come to.
    var hits: [Int] = []
    /// Guest-physical addresses where the guest had copied patches to, and has its own bytes back.
    var copies: [UInt64] = []
    /// What catchpoints stopped the run, or came with what did.
    var caught: [CaughtEvent] = []
    /// A condition that could not be evaluated.
    var conditionFailure: DebuggerError?
    /// The vCPU shut down in this run.
    var shutdown: Shutdown?
    /// The final state could not be read.
    var failure: KVMError?
    /// Interrupts are held off as long as it stands here.
    var holdsOffInterrupts = false
    /// KVM hides the guest's TF, which is set, and would drop it with single-step.
    var keepsTrapFlag = false

    struct Shutdown: Sendable {
        /// What the kernel had on its way into the guest.
        var events: VCPUEvents?
        var wasStepping: Bool
    }
}
