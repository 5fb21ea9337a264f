import DebugTarget
import Debugger
import KVMCore
import X86

extension Session {
    /// What a stop for a KVM internal error says of its cause.
    func explainError(_ output: inout StopOutput, _ stop: Stop) {
        guard stop.number == debugger.stop.number, case .internalError(let error) = stop.reason,
            let cause = debugger.cause(of: error, vcpu: stop.vcpu)
        else { return }
        output.explain(cause)
    }

    /// The same as a sentence, for what lists exits or the past; nil where the guest did not stop for one.
    func internalErrorText() -> String? {
        let stop = debugger.stop
        guard case .internalError(let error) = stop.reason,
            let cause = debugger.cause(of: error, vcpu: stop.vcpu)
        else { return nil }
        let text = cause.text(inRealMode: stop[stop.vcpu]?.mode == .real)
        return "vCPU \(stop.vcpu) stopped for KVM internal error \(error.suberror): \(error.meaning). \(text)"
    }
}

extension StopReason {
    /// An instruction was executed, or an interrupt taken, before it.
    var endsSteps: Bool {
        switch self {
        case .step, .reached, .breakpoint, .watchpoint, .caught, .magicBreakpoint, .hlt: true
        default: false
        }
    }
}
