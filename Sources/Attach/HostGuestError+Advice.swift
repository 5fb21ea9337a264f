public import DebugTarget
public import Host

extension HostGuestError: AdvisedError {
    public var advice: Advice? {
        switch code {
        case .noGuest, .noProcess: .listGuests
        case .attachedElsewhere: .detachThere
        case .astray: .detach
        case .away: .detachOrRetry
        default: nil
        }
    }
}
