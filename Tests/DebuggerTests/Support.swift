import Debugger
import TargetConformance
import X86

/// A debugger on a fake guest with this code at 0000:7C00.
func debugger(
    _ code: [UInt8] = [0x90], vcpus: Int = 1, quirks: FakeQuirks = [.lateHalt, .emptyREP]
) throws -> (debugger: Debugger, target: FakeTarget) {
    let target = FakeTarget(vcpus: vcpus, quirks: quirks)
    let debugger = try Debugger(target: target)
    try debugger.writeMemory(.physical(0x7C00), code)
    return (debugger, target)
}

/// The error that `body` throws, if it throws one of ours.
func debuggerError(_ body: () throws -> Void) -> DebuggerError? {
    do {
        try body()
        return nil
    } catch {
        return error as? DebuggerError
    }
}

func bytes(_ words: [UInt64], width: Int) -> [UInt8] {
    words.flatMap { word in (0..<width).map { UInt8(truncatingIfNeeded: word >> UInt64($0 * 8)) } }
}
