import DebugTarget
import Debugger
import X86

extension Fixture {
    /// Protected mode with the segments as they are, where no exception can be delivered.
    func withoutTable() throws {
        try debugger.setRegister("idtr.limit", to: 7)
        try debugger.setRegister("cr0", to: 0x11)
    }
}

extension ConformanceCase {
    static let remembering: [ConformanceCase] = [
        ConformanceCase("keeps the last steps, with the registers before each") { fixture in
            try fixture.load(counting)
            // One order each: of many steps in one the target may make some that nobody sees.
            for _ in 0..<3 { try fixture.step() }
            let box = try fixture.debugger.blackBox(limit: 3)
            let places = box.steps.map(\.record.registers.rip)
            try fixture.expect(places == [0x7C00, 0x7C03, 0x7C04], "\(places)")
            try fixture.expect(box.steps.map(\.record.registers.rax) == [0, 0, 1], "AX before each")
            try fixture.expect(box.steps[1].code.bytes == [0x40], "its bytes: \(box.steps[1].code.bytes)")
            try fixture.expect(box.fault == nil, "nothing died")
            // More than are kept; the target may make some by itself.
            try fixture.step(600)
            let later = try fixture.debugger.blackBox(limit: 1000)
            try fixture.expect(later.steps.count <= 256, "\(later.steps.count) are kept")
            let numbers = later.steps.map(\.record.number)
            try fixture.expect(numbers == numbers.sorted() && Set(numbers).count == numbers.count, "in order")
            try fixture.expect(later.stepCount >= 603, "\(later.stepCount) were counted")
        },
        ConformanceCase("books an edit to no instruction, and a fault apart from its handler") { fixture in
            // inc ax; inc bx
            try fixture.load([0x40, 0x43], at: Fixture.code)
            try fixture.step()
            try fixture.debugger.setRegister("rcx", to: 0x1234)
            try fixture.step()
            let edited = try fixture.debugger.blackBox(limit: 2).steps.map(\.record)
            try fixture.expect(edited.map(\.registers.rcx) == [0, 0x1234], "CX before each")
            // INC AX left CX alone.
            try fixture.expect(
                edited[0].after?.rcx == 0 && edited[0].after?.rax == 1,
                "\(String(describing: edited[0].after))")
            // div cx, with CX 0; the handler: inc bx; inc bx
            try fixture.load([0xF7, 0xF1], at: Fixture.code)
            try fixture.handler(0, [0x43, 0x43])
            try fixture.step()
            try fixture.expect("rip", 0x7D00)
            try fixture.step()
            let fault = try fixture.debugger.blackBox(limit: 2).steps.map(\.record)
            try fixture.expect(
                fault.map(\.registers.rip) == [0x9000, 0x7D00], "\(fault.map(\.registers.rip))")
            try fixture.expect(
                fault[0].delivered == 0, "the division delivered \(String(describing: fault[0].delivered))")
            try fixture.expect(fault.map(\.registers.rbx) == [0, 0], "INC BX is the handler's own")
            try fixture.expect("bx", 1)
        },
        ConformanceCase("explains a triple fault, after a free run and after steps", needs: [.ownMachine]) {
            fixture in
            for isStepped in [false, true] {
                // 9000 inc ax; 9001 inc ax; 9002 ud2, in protected mode with an interrupt table of one entry
                try fixture.debugger.setRegister("cr0", to: 0x10)
                try fixture.load([0x40, 0x40, 0x0F, 0x0B], at: Fixture.code)
                try fixture.withoutTable()
                let catchpoint = try fixture.debugger.setCatchpoint(.tripleFault)
                if isStepped { try fixture.step(10) } else { try fixture.go() }
                try fixture.expect(.tripleFault)
                try fixture.expect(
                    fixture.debugger.stop.caught
                        == [CaughtEvent(number: catchpoint.number, what: .tripleFault)], "it was caught")
                let box = try fixture.debugger.blackBox(limit: 5)
                guard let fault = box.fault else {
                    throw ConformanceFailure(description: "the black box has no fault")
                }
                // SVM's KVM has reset the vCPU by then. What was stepped is known all the same.
                if fault.origin == .lost {
                    try fixture.expect(!isStepped && fault.chain.end == .unknown, "\(fault.chain)")
                    try fixture.debugger.deleteAllBreakpoints()
                    continue
                }
                try fixture.expect(fault.registers.rip == 0x9002, "at \(fault.registers.rip)")
                try fixture.expect(fault.code?.text == "ud2", "\(fault.code?.text ?? "?")")
                try fixture.expect(fault.chain.links.map(\.vector) == [6, 13, 13, 8, 13], "\(fault.chain)")
                try fixture.expect(
                    fault.chain.links[1].cause == .tableLimit(entryEnd: 0x37, limit: 7), "\(fault.chain)")
                try fixture.expect(fault.chain.end == .shutdown, "\(fault.chain)")
                if isStepped {
                    try fixture.expect(box.steps.last?.record.registers.rip == 0x9002, "the last step")
                }
                try fixture.debugger.deleteAllBreakpoints()
            }
        },
        ConformanceCase("is not fooled by patches, and shows none", needs: [.ownMachine]) { fixture in
            try fixture.load([0x40, 0x43, 0x0F, 0x0B], at: Fixture.code)
            try fixture.useUpRegisters()
            try fixture.patch(0x9001)
            try fixture.patch(0x9002, condition: "$ax == 77")
            try fixture.withoutTable()
            try fixture.go()
            try fixture.go()
            try fixture.expect(.tripleFault)
            let box = try fixture.debugger.blackBox(limit: 5)
            try fixture.expect(box.fault?.code?.bytes == [0x0F, 0x0B], "\(box.fault?.code?.bytes ?? [])")
            try fixture.expect(box.fault?.chain.links.first?.cause == .undefinedInstruction, "as it is")
            let stepped = box.steps.map(\.code.bytes)
            try fixture.expect(stepped.contains([0x43]), "its own bytes: \(stepped)")
        },
    ]
}
