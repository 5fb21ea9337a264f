public import DebugTarget
import Debugger

extension Session {
    /// What keeps every vCPU of a guest that was resumed from running; nil where one may run, or none can be kept.
    public var withholding: Withholding? {
        guard isRunning, let target = debugger.target as? any VCPUWithholding else { return nil }
        let all = target.vcpus.map { target.withholding(vcpu: $0.id) }
        return all.contains(nil) ? nil : all.first ?? nil
    }
}
