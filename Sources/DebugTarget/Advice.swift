/// What a user can do about a failure where that is a matter of a front end's commands or options: the act. Each front end
/// says in its own words how it is done there; what a `remedy` says holds in all of them.
public enum Advice: Sendable, Hashable {
    /// Give an address that is linear, and not physical.
    case giveLinearAddress
    /// Watch writes alone.
    case watchWrites
    /// Watch memory: accesses to it do not leave the guest.
    case watchMemory
    /// Catch accesses to devices: there is no memory.
    case catchDeviceAccesses
    /// Catch HLT itself, and not its exit.
    case catchHalt
    /// Set a breakpoint at the code that does it.
    case breakAtCode
    /// Set a breakpoint that needs no debug register.
    case breakWithoutRegister
    /// It comes of breakpoints, watchpoints and steps.
    case causedByDebugger
    /// Stop the guest.
    case stopGuest
    /// Step past the HLT, or change a register.
    case stepPastHalt
    /// Step to an instruction that returns, whatever it returns to.
    case stepToReturn
    /// Resume all vCPUs.
    case continueAll
    /// Select another vCPU, or resume all.
    case selectOrContinue
    /// Compare with `==`; a breakpoint's commands may change the guest.
    case changeByCommands
    /// Compare general registers or memory; a breakpoint's commands can show the FPU.
    case showFPUByCommands
    /// List the leaves of CPUID.
    case listCPUID
    /// List the parts of the extended state, or enable more of them.
    case listExtendedState
    /// Show what the host honours.
    case showHost
    /// Only a guest that another program runs can be detached from; one's own ends with the session.
    case endInsteadOfDetaching
    /// End the session: what can be put back is.
    case endToPutBack
    /// End the session, and attach again.
    case attachAgain
    /// Detach: what can be put back is.
    case detach
    /// Try again, or detach.
    case detachOrRetry
    /// Detach in the other session first.
    case detachThere
    /// Run the machine without interrupt controllers in the kernel.
    case withoutKernelChips
    /// Catch the interrupt that calls it.
    case catchInterrupt
    /// Run the machine without a BIOS, or with more memory.
    case withoutBIOS
    /// Run the machine with interrupt controllers, which the BIOS and drives need.
    case chipsForBIOS
    /// Run the machine with interrupt controllers in the kernel, or with none.
    case kernelChips
    /// Load the file as a flat binary.
    case loadFlat
    /// Say what the file is.
    case chooseKind
    /// Start the image in another mode.
    case chooseEntry
    /// Start the guest again.
    case startAgain
    /// Another program runs the guest: it is started again there.
    case restartThere
    /// Give one vCPU at least.
    case giveVCPUs
    /// Give an address that a server can listen at.
    case giveServerAddress
    /// List the guests of the host.
    case listGuests
    /// List the vCPUs.
    case listVCPUs
    /// Go back from an earlier stop to the present one.
    case returnToPresent(stop: Int)
}

/// An error that has such an advice.
public protocol AdvisedError: Error {
    /// What was attempted, and what was wrong.
    var message: String { get }
    /// What to do, in every front end.
    var remedy: String? { get }
    /// What to do by a front end's commands or options.
    var advice: Advice? { get }
}
