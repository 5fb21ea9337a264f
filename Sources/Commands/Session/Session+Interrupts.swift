import DebugTarget
import Debugger
import X86

extension Session {
    /// What a stop after steps says of interrupts.
    func noteInterrupts(_ output: inout StopOutput, _ stop: Stop) {
        guard stop.number == debugger.stop.number, stop.steps > 0 else { return }
        output.heldInterrupt = debugger.heldInterrupt().map { held in
            switch held {
            case .vector(let vector): "vector \(Hex(vector))"
            case .nmi: "an NMI"
            case .smi: "an SMI"
            }
        }
        guard !hasToldOfInterrupts, !debugger.canHoldInterrupts, !debugger.takesInterruptsWhileStepping,
            stop[stop.vcpu]?.registers.rflags.contains(.if) ?? false
        else { return }
        hasToldOfInterrupts = true
        output.cannotHold = true
    }
}
