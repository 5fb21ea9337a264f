import Testing

@testable import Debugger

/// Breakpoints by address, while somebody keeps a copy.
@Suite struct PlaceTableTests {
    private func state(_ number: Int) -> BreakpointState {
        BreakpointState(number: number, far: nil, condition: nil)
    }

    private func contents(_ table: PlaceTable) -> [UInt64: [Int]] {
        var found: [UInt64: [Int]] = [:]
        for key in table.keys { found[key] = table[key]?.map(\.number) }
        return found
    }

    /// As a dictionary would, with copies that stay as they were when they were made.
    @Test(arguments: [false, true])
    func holdsWhatADictionaryHolds(_ isShared: Bool) {
        var table = PlaceTable()
        var expected: [UInt64: [Int]] = [:]
        var copies: [(PlaceTable, [UInt64: [Int]])] = []
        var random = Numbers(seed: 11)
        for number in 0..<4000 {
            let address = random.next() % 500
            if random.next() % 3 == 0, let some = expected[address]?.first {
                table.remove(some, at: address)
                expected[address]?.removeFirst()
                if expected[address]?.isEmpty == true { expected[address] = nil }
            } else {
                table.append(state(number), at: address)
                expected[address, default: []].append(number)
            }
            if isShared, number % 7 == 0 { copies.append((table, expected)) }
            if number % 500 == 0 {
                #expect(contents(table) == expected)
                #expect(table.count == expected.count && table.isEmpty == expected.isEmpty)
                #expect(table[600] == nil)
            }
        }
        for (copy, kept) in copies.suffix(100) { #expect(contents(copy) == kept) }
        for (address, numbers) in expected { for number in numbers { table.remove(number, at: address) } }
        #expect(table.isEmpty && table.keys.isEmpty)
        // What nobody else has is changed in place.
        if !isShared { #expect(table.copied == 0) }
    }

    @Test func changesBesideACopyCostNoSquare() {
        var table = PlaceTable()
        var copy = table
        for number in 0..<20_000 {
            table.append(state(number), at: UInt64(number) * 8)
            copy = table
        }
        #expect(copy.count == 20_000)
        // A dictionary would have copied 200 million.
        #expect(table.copied < 20_000 * 256, "\(table.copied)")
    }
}

/// The same numbers each time.
private struct Numbers {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state >> 33
    }
}
