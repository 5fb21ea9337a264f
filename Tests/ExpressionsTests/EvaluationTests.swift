import Testing
import X86

@testable import Expressions

/// Expressions in a context of the test's own: no debugger, no guest.
@Suite struct EvaluationTests {
    /// AX is 0x7c00, and each byte of memory is the low byte of its address. What is set is kept.
    private final class Context: EvaluationContext {
        let pointerWidth = 32
        var registers: [String: UInt64] = ["ax": 0x7C00]
        var stores: [UInt64: UInt64] = [:]

        struct Refused: Error {}

        func register(_ name: RegisterName) throws(ExpressionError) -> UInt64 {
            guard let value = registers[name.name] else { throw ExpressionError(Refused()) }
            return value
        }

        func base(of segment: SegmentName, at offset: UInt64) -> UInt64 { segment == .cs ? 0x1000 : 0x2000 }

        func floating(_ register: FloatingRegister) throws(ExpressionError) -> Value {
            throw ExpressionError(.refused, "no FPU here")
        }

        func load(_ address: Address, width: Int) throws(ExpressionError) -> UInt64 {
            guard case .linear(let linear) = address else {
                throw ExpressionError(.unreadable, "\(address) cannot be read")
            }
            return (0..<UInt64(width)).reduce(0) { $0 | ((linear &+ $1) & 0xFF) << ($1 * 8) }
        }

        func setRegister(_ name: RegisterName, to value: UInt64) { registers[name.name] = value }

        func store(_ value: UInt64, to address: Address, width: Int) {
            if case .linear(let linear) = address { stores[linear] = value }
        }
    }

    private let context = Context()

    private func value(
        _ text: String, _ scope: ExpressionScope = ExpressionScope(variables: Variables())
    ) throws(ExpressionError) -> UInt64 {
        try Expression(text, in: scope).evaluate(in: context).bits
    }

    @Test(
        arguments: [
            ("1 + 2 * 3", 7), ("$ax >> 8", 0x7C), ("*(u8*)0x1234", 0x34), ("*(u16*)0x10ff", 0x00FF),
            ("$ax == 0x7c00 && !0", 1), ("(u8)$ax", 0),
        ] as [(String, UInt64)])
    func values(_ text: String, _ expected: UInt64) throws { #expect(try value(text) == expected) }

    /// CS begins at 0x1000 and SS at 0x2000 here.
    @Test(
        arguments: [
            ("$rip", 0x1010), ("$eip + 4", 0x1014), ("4 + $ip", 0x1014), ("$pc - 1", 0x100F), ("$sp", 0x2020),
            ("(u16*)$sp + 1", 0x2022), ("$bp", 0x2030), ("$rbp - $rsp", 0x10), ("$pc * 1", 0x10),
            ("$ax + $pc", 0x8C10), ("v:0x10", 0x10),
        ] as [(String, UInt64)])
    func addressesCountFromTheirSegment(_ text: String, _ expected: UInt64) throws {
        context.registers.merge(["rip": 0x10, "eip": 0x10, "ip": 0x10, "rsp": 0x20, "rbp": 0x30, "bp": 0x30])
        { $1 }
        let value = try Expression(text, in: ExpressionScope(variables: Variables())).evaluate(in: context)
        let place =
            switch value.place {
            case .linear(let linear), .virtual(let linear): linear
            default: UInt64.max
            }
        #expect(place == expected)
    }

    @Test func whatIsSetReachesTheContext() throws {
        #expect(try value("$ax = 5") == 5)
        #expect(context.registers["ax"] == 5)
        _ = try value("*(u8*)0x500 = 0xff")
        #expect(context.stores[0x500] == 0xFF)
        // What does not fit is refused, not cut.
        let error = #expect(throws: ExpressionError.self) { try value("*(u8*)0x500 = 0x1fe") }
        #expect(error?.code == .outOfRange)
        #expect(context.stores[0x500] == 0xFF)
    }

    @Test func symbolsAndVariablesComeOfTheScope() throws {
        let scope = ExpressionScope(
            variables: Variables(), symbol: { $0 == "start" ? 0x7C00 : nil }, symbolsNear: { _ in ["start"] })
        #expect(try value("&start + 2", scope) == 0x7C02)
        let error = #expect(throws: ExpressionError.self) { try value("strat", scope) }
        #expect(error?.code == .unknownName)
        _ = try value("$n = 40", scope)
        #expect(try value("$n + 2", scope) == 42)
    }

    /// Each with the column where it went wrong, in Characters.
    @Test(
        arguments: [
            ("1 +", .syntax, 3), ("1 / 0", .outOfRange, 2), ("$never", .unknownName, 0),
            ("1 + $bx", .context, 4), ("*p:0x10", .unreadable, 0),
        ] as [(String, ExpressionError.Code, Int)])
    func errors(_ text: String, _ code: ExpressionError.Code, _ column: Int) {
        let error = #expect(throws: ExpressionError.self) { try value(text) }
        #expect(error?.code == code)
        #expect(error?.column == column)
        #expect((error?.cause is Context.Refused) == (code == .context))
    }
}
