import DebugTarget
import Expressions
import X86

/// Which breakpoints are where a vCPU stands, and whether they stop it.
struct BreakpointMatcher: Sendable {
    /// What is armed.
    var set = ArmedSet.none
    /// The last condition that could not be evaluated.
    private(set) var conditionFailure: DebuggerError?

    /// A vCPU at a place.
    struct Scene {
        var registers: GeneralRegisters
        var special: SpecialRegisters
        var memory: any PhysicalMemory
        /// Asked for only where a condition needs them.
        var debugRegisters: () -> DebugRegisters?

        var pc: UInt64 { VCPUSnapshot.pc(registers, special) }

        func physical(_ linear: UInt64) -> UInt64? {
            let view = LinearMemory(memory: memory, special: special)
            return view.physical(view.cut(linear))
        }
    }

    mutating func begin() { conditionFailure = nil }

    /// A breakpoint is here, whether it would stop the guest or not.
    func isBreakpoint(_ pc: UInt64, _ special: SpecialRegisters, _ memory: any PhysicalMemory) -> Bool {
        if set.linear[pc] != nil { return true }
        guard !set.physical.isEmpty else { return false }
        let view = LinearMemory(memory: memory, special: special)
        guard let gpa = view.physical(view.cut(pc)) else { return false }
        return set.physical[gpa] != nil
    }

    /// The numbers of the breakpoints here that stop the guest; none where there is none, where its condition is false,
    /// or where it is ignored.
    mutating func hits(_ scene: Scene) -> [Int] {
        var states = set.linear[scene.pc]
        if !set.physical.isEmpty, let gpa = scene.physical(scene.pc), let more = set.physical[gpa] {
            states = (states ?? []) + more
        }
        if !set.ahead.isEmpty { states = (states ?? []) + set.ahead }
        guard let states else { return [] }
        var numbers: [Int] = []
        for state in states {
            if let far = state.far,
                far.selector != scene.special.cs.selector || far.offset != scene.registers.rip
            {
                continue
            }
            guard stops(state, scene) else { continue }
            numbers.append(state.number)
        }
        return numbers
    }

    /// Counts a hit of something with a condition. Whether it stops the guest.
    mutating func stops(_ state: BreakpointState, _ scene: Scene) -> Bool {
        isTrue(state.condition, scene) && isTrue(state.program, scene) && state.count()
    }

    private mutating func isTrue(_ program: (any StopCondition)?, _ scene: Scene) -> Bool {
        guard let program else { return true }
        do {
            return try program.holds(scene.registers, scene.special, memory: scene.memory)
        } catch {
            conditionFailure = error
            return true
        }
    }

    /// A condition that cannot be evaluated stops the guest, and says why.
    mutating func isTrue(_ condition: Expression?, _ scene: Scene) -> Bool {
        guard let condition else { return true }
        do {
            let debug = condition.needsDebugRegisters ? scene.debugRegisters() : nil
            return
                !(try condition.evaluate(scene.registers, scene.special, debug: debug, memory: scene.memory)
                .isZero)
        } catch {
            conditionFailure = error
            return true
        }
    }
}
