import DebugTarget
import Debugger
import X86

/// A jump through a null pointer to code, where no vector of real mode tells.
extension ConformanceCase {
    static let nullJumps: [ConformanceCase] = [
        ConformanceCase(
            "stops at a jump to address 0 in protected mode, if zeros stand there", stopsAtHalt: true,
            needs: [.ownMachine, .debugRegisters]
        ) { fixture in
            // mov ax, 0; push ax; ret; in protected mode with the segments as they are
            let code: [UInt8] = [0xB8, 0, 0, 0x50, 0xC3]
            for isStepped in [false, true] {
                try fixture.atNullJump(code)
                if isStepped { try fixture.step(20) } else { try fixture.go() }
                try fixture.expect(
                    .emptyVector(
                        EmptyVector(way: .zeros, from: SegmentedAddress(selector: 0, offset: 0))))
                try fixture.expect("rip", 0)
            }
            // Code that stands there runs, and so do zeros if the user wants that.
            try fixture.atNullJump(code)
            try fixture.debugger.writeMemory(.physical(0), [0x40, 0xF4])
            try fixture.go()
            try fixture.expect(.hlt)
            try fixture.atNullJump(code)
            try fixture.debugger.writeMemory(.physical(0), [0, 0, 0, 0, 0xF4])
            fixture.debugger.stopsAtEmptyVectors = false
            if !(fixture.target is FakeTarget) {
                try fixture.go()
                try fixture.expect(.hlt)
            }
        },
        ConformanceCase(
            "stops at a jump to address 0 in 64-bit mode", needsProcessor: true,
            needs: [.ownMachine, .debugRegisters]
        ) { fixture in
            // xor eax, eax; push rax; ret
            let code = ModeSwitch.code(
                at: 0x7C00, real: [0x66, 0x0F, 0x01, 0x16, 0x00, 0x80],
                protected: [
                    0xB8, 0x10, 0x00, 0x00, 0x00,  // mov eax, 0x10
                    0x8E, 0xD8,  // mov ds, eax
                    0x8E, 0xD0,  // mov ss, eax
                    0xBC, 0x00, 0x70, 0x00, 0x00,  // mov esp, 0x7000
                ], long: [0x31, 0xC0, 0x50, 0xC3])
            let null = StopReason.emptyVector(
                EmptyVector(way: .zeros, from: SegmentedAddress(selector: 0x18, offset: 0)))
            try fixture.load(code)
            try fixture.modeTables()
            try fixture.go()
            try fixture.expect(null)
            try fixture.expect(fixture.debugger.selected.mode == .long64, "in 64-bit mode")
            // Stepped, and freely from within the mode.
            for isStepped in [true, false] {
                try fixture.debugger.setRegister("rip", to: 0x7C00 + UInt64(code.count) - 4)
                if isStepped { try fixture.step(20) } else { try fixture.go() }
                try fixture.expect(null)
            }
        },
    ]
}

extension Fixture {
    /// Before the code, in protected mode, with zeros from 0 on.
    fileprivate func atNullJump(_ code: [UInt8]) throws {
        try debugger.setRegister("cr0", to: 0x10)
        try load(code, at: Fixture.code)
        try debugger.writeMemory(.physical(0), [UInt8](repeating: 0, count: 64))
        try debugger.setRegister("cr0", to: 0x11)
    }
}
