import CBench
import DebugTarget
import Debugger
import Expressions
import Interface
import KVMCore
import Machine
import X86

/// What breakpoints and watchpoints cost.
func breakpointFigures(count: Int, rounds: Int) throws -> [Figure] {
    [
        try manyBreakpointsFigure(count: count, rounds: rounds),
        // AX counts to it.
        try falseConditionFigure(count: min(count, 60_000), rounds: rounds),
        try watchElsewhereFigure(count: count, rounds: rounds),
    ]
}

/// Many steps of one order, with a thousand breakpoints set in the same page and in others.
private func manyBreakpointsFigure(count: Int, rounds: Int) throws -> Figure {
    let debugger = try Debugger(target: benchMachine(CBENCH_STEP))
    for index in 0..<1000 { try debugger.setBreakpoint(at: .linear(0x7C80 + UInt64(index) * 3)) }
    return try compare(
        "step \(count) with 1,000 breakpoints set", atLeast: 0.7, guest: CBENCH_STEP, count: count,
        rounds: rounds
    ) { count in
        let stop = try debugger.step(count: count)
        guard case .step = stop.reason else { throw BenchFailure("the steps ended in \(stop.reason)") }
    }
}

/// One order that comes to a breakpoint `count` times with a condition that is false, and once with a true one.
private func falseConditionFigure(count: Int, rounds: Int) throws -> Figure {
    let debugger = try Debugger(target: benchMachine(CBENCH_BREAK))
    let place = Address.linear(UInt64(CBENCH_BREAK_AT))
    let breakpoint = try debugger.setBreakpoint(at: place)
    return try compare(
        "continue over a condition that is false", atLeast: 0.5, guest: CBENCH_BREAK, count: count,
        rounds: rounds
    ) { count in
        try debugger.setRegister("ax", to: 0)
        try debugger.setBreakpoint(breakpoint.number, condition: "$ax == \(count)")
        let stop = try debugger.continueRun()
        guard case .breakpoint = stop.reason, try debugger.registerValue("ax").bits == UInt64(count) else {
            throw BenchFailure("the breakpoint ended in \(stop.reason)")
        }
    }
}

/// Writes to a page of which other bytes are watched, beside an exit for each with nothing done about it.
private func watchElsewhereFigure(count: Int, rounds: Int) throws -> Figure {
    let debugger = try Debugger(target: benchMachine(CBENCH_WRITE))
    // A debug register at address 0, for a guest without a BIOS, has a price of its own at each exit.
    debugger.stopsAtEmptyVectors = false
    let page = UInt64(CBENCH_WRITE_PAGE)
    try debugger.setWatchpoint(at: .linear(page + 0x800), length: 64, access: .write)
    return try compare(
        "writes beside a watchpoint, to bare MMIO exits", atLeast: nil, guest: CBENCH_WRITE, count: count,
        rounds: rounds
    ) { count in
        try debugger.setRegister("rip", to: 0x7C00)
        try debugger.setRegister("rcx", to: UInt64(count))
        let stop = try debugger.continueRun()
        guard stop.reason == .hlt else { throw BenchFailure("the writes ended in \(stop.reason)") }
    }
}
