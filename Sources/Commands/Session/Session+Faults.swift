import DebugTarget
import Debugger
import KVMCore
import X86

extension Session {
    /// What a stop says beyond its reason: the cause of a KVM internal error, and that the vCPU runs through zeros.
    func explain(_ output: inout StopOutput, _ stop: Stop) {
        explainError(&output, stop)
        if isAmongZeros(stop) { output.isAmongZeros = true }
    }

    /// Zeros before the next instruction and from there on: they are instructions, but no one's code.
    private func isAmongZeros(_ stop: Stop) -> Bool {
        guard stop.number == debugger.stop.number, stop.reason != .created, let snapshot = stop[stop.vcpu]
        else { return false }
        if case .emptyVector = stop.reason { return false }
        let reach: UInt64 = 8
        let image = debugger.keeping {
            try? debugger.readMemory(.linear(snapshot.pc &- reach), count: Int(reach) * 2, vcpu: stop.vcpu)
        }
        return image?.leading.count == Int(reach) * 2 && image?.leading.allSatisfy { $0 == 0 } == true
    }

    private func explainError(_ output: inout StopOutput, _ stop: Stop) {
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
