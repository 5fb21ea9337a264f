import DebugTarget
import TargetConformance
import Testing
import X86

@testable import Debugger

/// What each instruction raises in each state, found by looking at registers and memory alone.
@Suite struct FaultRowTests {
    @Test(arguments: FaultRow.all)
    func theExceptionIsTheManuals(_ row: FaultRow) {
        let stage = row.stage()
        let memory = FakeMemory(size: FaultStage.memorySize)
        stage.memory.withUnsafeBytes { try? memory.write(0, $0) }
        var scene = FaultScene(
            registers: stage.registers, view: LinearMemory(memory: memory, special: stage.special))
        scene.facts = FaultFacts(
            debug: stage.debug, fpu: stage.fpu, xcr0: stage.xcr0, pkru: stage.pkru, msrs: stage.msrs)
        let found = scene.firstFault()?.link
        #expect(found?.vector == row.vector, "\(String(describing: found))")
        guard row.vector != nil, let found else { return }
        #expect(found.errorCode == row.errorCode, "\(found)")
        switch row.cause {
        case .exactly(let cause): #expect(found.cause == cause)
        case .page(let denial): #expect(Self.denial(found.cause) == denial, "\(found)")
        case nil: Issue.record("the row names no cause")
        }
    }

    private static func denial(_ cause: FaultCause?) -> FaultCause.PageDenial? {
        switch cause {
        case .codePage(_, let denial), .dataPage(_, _, let denial): denial
        default: nil
        }
    }

    @Test func everyRowHasANameOfItsOwn() {
        let names = FaultRow.all.map(\.name)
        #expect(Set(names).count == names.count)
        #expect(names.count > 200)
    }

    /// Each exception of the manual's list that an instruction can raise; #DF, #TS, #NP in deliveries stand with the
    /// chains, NMI and #MC come from outside.
    @Test func everyExceptionHasARow() {
        let covered = Set(FaultRow.all.compactMap(\.vector))
        #expect(covered.isSuperset(of: [0, 1, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 16, 17, 19, 21]))
    }
}
