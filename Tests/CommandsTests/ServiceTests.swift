import Debugger
import Testing

@testable import Commands

/// Other programs that debug the session's guest: how they are let in, and what they are told.
@Suite struct ServiceTests {
    private func driver() throws -> Driver {
        let driver = try Driver()
        driver.session.serviceMaker = { _, address throws(CommandError) in
            guard address.contains(":") else { throw CommandError("`\(address)` is no address") }
            return FakeService(address)
        }
        return driver
    }

    @Test func oneIsServedAtATime() throws {
        let driver = try driver()
        #expect(try driver.text("gdbserver") == ["Nobody is served; `gdbserver ADDR` begins."])
        #expect(try driver.text("gdbserver :1234") == ["Waiting at :1234."])
        let first = try #require(driver.session.service as? FakeService)
        #expect(try driver.text("gdbserver") == ["Waiting at :1234."])
        #expect(try driver.text("gdbserver unix:/tmp/x") == ["Waiting at unix:/tmp/x."])
        #expect(first.isClosed)
        #expect(try driver.text("gdbserver stop") == ["Nobody is served any more."])
        #expect(try driver.text("gdbserver stop") == ["Nobody was served."])
        #expect(driver.session.serviceDescriptor == -1)
    }

    @Test func whatCannotBeServedSaysSo() throws {
        let driver = try driver()
        let error = try driver.failure("gdbserver nonsense")
        #expect(error.message.contains("no address") && error.column == 10)
        #expect(try driver.failure("gdbserver :1 :2").message.contains("one argument"))
        #expect(try Driver().failure("gdbserver :1").message.contains("cannot serve"))
    }

    @Test func aServiceHearsOfEachStopAndOfNothingElse() throws {
        let driver = try driver()
        try driver.output("gdbserver :1")
        let service = try #require(driver.session.service as? FakeService)
        try driver.output("step")
        #expect(service.stops == 1)
        try driver.output("print 1")
        #expect(service.stops == 1)
        try driver.output("continue")
        #expect(service.stops == 2)
    }

    @Test func whatBecomesOfTheGuest() throws {
        let driver = try driver()
        #expect(driver.session.disconnectPolicy == .automatic)
        #expect(try driver.text("show disconnect")[0].contains("detaches"))
        for policy in DisconnectPolicy.allCases {
            try driver.output("set disconnect \(policy.rawValue)")
            #expect(driver.session.disconnectPolicy == policy)
        }
        #expect(try driver.failure("set disconnect maybe").message.contains("none of"))
        #expect(try driver.failure("set disconnect").message.contains("needs one of"))
    }

    @Test func noticesAreShownOnceAndDoNotGrow() throws {
        let driver = try driver()
        for number in 0..<1000 { driver.session.announce("notice \(number)") }
        let notices = driver.session.takeNotices()
        #expect(notices.count == 100)
        #expect(notices.last?.lines(width: 80).map(\.text) == ["notice 999"])
        #expect(driver.session.takeNotices().isEmpty)
    }
}
