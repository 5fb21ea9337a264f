import Testing

@testable import Debugger

/// `step all N`: whose turn it is.
@Suite struct StepTurnsTests {
    @Test func nobodyHasNoTurn() { #expect(StepTurns([], count: 5) == nil) }

    @Test func turnsGoRoundUntilAllAreDone() throws {
        var turns = try #require(StepTurns([4, 2], count: 100))
        var seen: [[Int]] = []
        repeat { seen.append([turns.vcpu, turns.steps]) } while turns.next(hasHalted: false)
        #expect(seen == [[4, 64], [2, 64], [4, 36], [2, 36]])
        #expect(turns.finished == 2)
    }

    @Test func oneThatHaltsHasNoFurtherTurn() throws {
        var turns = try #require(StepTurns([0, 1], count: 65))
        var goesOn = turns.next(hasHalted: true)
        #expect(goesOn && turns.vcpu == 1)
        goesOn = turns.next(hasHalted: false)
        #expect(goesOn && turns.vcpu == 1 && turns.steps == 1)
        goesOn = turns.next(hasHalted: false)
        #expect(!goesOn)
        #expect(turns.finished == 1)
    }

    @Test func aHaltAtTheLastStepIsAnEnd() throws {
        var turns = try #require(StepTurns([7], count: 3))
        #expect(turns.steps == 3)
        let goesOn = turns.next(hasHalted: true)
        #expect(!goesOn && turns.finished == 1)
    }
}
