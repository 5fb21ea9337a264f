import Testing

@testable import Attach

@Suite("The meter of standstills")
struct PauseMeterTests {
    @Test("from the first held to the last let go, and how far apart they were held")
    func two() {
        let meter = PauseMeter()
        meter.held(at: 1000)
        meter.held(at: 1250)
        #expect(meter.allStand() == 250)
        meter.went(at: 5000)
        #expect(meter.count == 0)
        meter.went(at: 6000)
        #expect(meter.count == 1 && meter.last == 5000 && meter.total == 5000)
        #expect(meter.tell() == 5000)
        #expect(meter.tell() == 0)
    }

    @Test("one that went and came back while the others stood is not said to have come late")
    func steps() {
        let meter = PauseMeter()
        meter.held(at: 10)
        meter.held(at: 30)
        #expect(meter.allStand() == 20)
        meter.went(at: 100)
        meter.held(at: 900_000)
        #expect(meter.allStand() == 0)
        meter.went(at: 900_010)
        meter.went(at: 900_020)
        // The next standstill is measured anew.
        meter.held(at: 1_000_000)
        meter.held(at: 1_000_007)
        #expect(meter.allStand() == 7)
        #expect(meter.allStand() == 0)
    }

    @Test("one that is taken on in the midst counts")
    func more() {
        let meter = PauseMeter()
        meter.held(at: 10)
        // One alone does not stop together with anything.
        #expect(meter.allStand() == 0)
        meter.grew()
        meter.held(at: 60)
        #expect(meter.allStand() == 50)
        meter.grew()
        meter.held(at: 70)
        #expect(meter.allStand() == 60)
    }

    @Test("held in the same nanosecond is still a common stop")
    func atOnce() {
        let meter = PauseMeter()
        meter.held(at: 10)
        meter.held(at: 10)
        #expect(meter.allStand() == 1)
    }
}
