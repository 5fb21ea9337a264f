public import DebugTarget

extension AttachedTarget: ExitForwarding {}

/// What of another program's guest can be caught: all that makes KVM_RUN return to that program.
extension AttachedTarget: EventDelivering {
    public func delivery(of event: CatchEvent) throws(EventRefusal) -> EventDelivery {
        switch event {
        case .io, .mmio, .exit, .hlt, .tripleFault, .firmware: .exit
        case .msr, .control, .interrupt, .exception, .modeSwitch: .stepping
        }
    }
}
