public import DebugTarget

/// A guest that another program runs: letting it go for good, and what watching it costs it.
extension Debugger {
    /// The guest was detached from; nothing can be asked of it any more.
    public var isDetached: Bool { abilities.detaching?.isDetached ?? false }

    /// Puts back whatever was changed in the guest and its VMM, and lets them go on without a debugger. One that
    /// runs is stopped for it.
    ///
    /// - Throws: `.refused` where the guest is our own or is detached already; `.target` where putting back failed.
    @discardableResult
    public func detach() throws(DebuggerError) -> Detachment {
        guard let target = abilities.detaching else {
            throw DebuggerError(
                .refused, "the guest is the debugger's own and cannot go on without it",
                advice: .endInsteadOfDetaching)
        }
        try checkAttached()
        if isRunning {
            interrupt()
            guard try collectStop(timeout: .seconds(10)) != nil else {
                throw DebuggerError(
                    .target, "the guest does not stop within 10 s, and was not detached",
                    advice: .endToPutBack)
            }
        }
        for vcpu in vcpus where vcpu.last.keepsTrapFlag {
            let driver = vcpu.driver
            try call(vcpu.id, "putting TF back") { vcpu in try driver.showTrapFlag(vcpu) }
        }
        do {
            return try target.detach()
        } catch {
            throw DebuggerError("detaching", error)
        }
    }

    func checkAttached() throws(DebuggerError) {
        guard isDetached else { return }
        throw DebuggerError(
            .refused, "the guest was detached", advice: .attachAgain)
    }

    /// How often and how long the guest was stopped so far; nil where nothing measures that.
    public var standstills: Standstills? { abilities.meter?.standstills }
}
