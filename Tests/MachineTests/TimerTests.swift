import DebugTarget
import KVMCore
import Testing

@testable import Machine

/// The timers in a time that the test makes pass.
struct TimerTests {
    private let clock = GuestClock()
    private let controllers = InterruptControllerPair()
    private let timer: IntervalTimer
    private let realTime: RealTimeClock

    init() {
        timer = IntervalTimer(clock: clock, controllers: controllers)
        // 2023-11-14 22:13:20 UTC, a Tuesday.
        realTime = RealTimeClock(
            origin: 1_700_000_000, clock: clock, line: ControllerLine(pair: controllers, number: 8))
        controllers.initialiseAsBIOS()
    }

    /// Lets nanoseconds pass.
    private func pass(_ nanoseconds: UInt64) {
        clock.stepTime = 1_000_000_000
        for _ in 0..<(nanoseconds / 1_000_000_000) { clock.stepped() }
        clock.stepTime = nanoseconds % 1_000_000_000
        clock.stepped()
        timer.advance(to: clock.now)
        realTime.advance(to: clock.now)
    }

    private func passTicks(_ ticks: UInt64) {
        let now = IntervalTimer.ticks(clock.now)
        pass(IntervalTimer.nanoseconds(now + ticks) - clock.now)
    }

    private func port(_ offset: UInt64) -> UInt8 { UInt8(timer.read(offset, size: 1)) }
    private func port(_ offset: UInt64, _ value: UInt64) { _ = timer.write(offset, size: 1, value) }
    private var gatePort: SystemControlPort { SystemControlPort(timer: timer) }

    private func load(_ channel: UInt64, mode: UInt64, _ count: UInt64) {
        port(3, channel << 6 | 0x30 | mode << 1)
        port(channel, count & 0xFF)
        port(channel, count >> 8)
    }

    private func count(_ channel: UInt64) -> UInt16 {
        port(3, channel << 6)
        let low = port(channel)
        return UInt16(port(channel)) << 8 | UInt16(low)
    }

    @Test(arguments: [UInt64(0), 1, 999, 1_000_000_000, 86_400_000_000_000, 1 << 62])
    func ticksAndNanosecondsAgree(_ nanoseconds: UInt64) {
        let ticks = IntervalTimer.ticks(nanoseconds)
        #expect(IntervalTimer.nanoseconds(ticks) <= nanoseconds)
        #expect(IntervalTimer.nanoseconds(ticks + 1) > nanoseconds)
        #expect(IntervalTimer.ticks(IntervalTimer.nanoseconds(ticks + 1)) == ticks + 1)
    }

    @Test func rateGeneratorCountsAndInterrupts() {
        load(0, mode: 2, 1000)
        passTicks(1)
        #expect(count(0) == 999)
        #expect(!controllers.hasRequest)
        let next = timer.nextInterrupt(after: clock.now)
        #expect(next == IntervalTimer.nanoseconds(1000))
        passTicks(999)
        #expect(controllers.acknowledge() == 8)
        #expect(count(0) == 1000)
        // However many were missed, one is latched.
        passTicks(10_000)
        _ = InterruptControllerPorts(pair: controllers, chip: 0).write(0, size: 1, 0x20)
        #expect(controllers.acknowledge() == 8)
        _ = InterruptControllerPorts(pair: controllers, chip: 0).write(0, size: 1, 0x20)
        #expect(!controllers.hasRequest)
    }

    @Test func squareWaveCountsByTwo() {
        load(0, mode: 3, 1000)
        passTicks(100)
        #expect(count(0) == 800)
        passTicks(450)
        #expect(count(0) == 900)
        #expect(!controllers.hasRequest)
        passTicks(450)
        #expect(controllers.hasRequest)
    }

    @Test func terminalCountComesOnce() {
        load(0, mode: 0, 50)
        passTicks(49)
        #expect(!controllers.hasRequest)
        passTicks(1)
        #expect(controllers.acknowledge() == 8)
        #expect(timer.nextInterrupt(after: clock.now) == nil)
        passTicks(1)
        // It counts on, round and round.
        #expect(count(0) == 0xFFFF)
    }

    @Test func latchHoldsTheCount() {
        load(0, mode: 2, 0x1234)
        passTicks(4)
        port(3, 0)
        passTicks(100)
        #expect(port(0) == 0x30)
        #expect(port(0) == 0x12)
    }

    @Test func readBackGivesStatus() {
        load(0, mode: 2, 100)
        // Status of counter 0, not its count.
        port(3, 0xE2)
        #expect(port(0) == 0xB4)
        port(3, 0x36)
        port(3, 0xE2)
        // OUT is high before the first count of mode 3, and "no count yet".
        #expect(port(0) == 0xF6)
    }

    @Test func decimalDigits() {
        port(3, 0x35)
        port(0, 0x00)
        port(0, 0x10)
        passTicks(1)
        #expect(count(0) == 0x0999)
    }

    @Test func theThirdCounterHasAGate() {
        // As boot loaders measure time: mode 0, gate open, wait for OUT.
        _ = gatePort.write(0, size: 1, 0)
        load(2, mode: 0, 500)
        passTicks(600)
        #expect(gatePort.read(0, size: 1) & 0x20 == 0)
        #expect(count(2) == 500)
        _ = gatePort.write(0, size: 1, 1)
        passTicks(499)
        #expect(gatePort.read(0, size: 1) & 0x21 == 1)
        passTicks(1)
        #expect(gatePort.read(0, size: 1) & 0x21 == 0x21)
    }

    @Test func refreshToggles() {
        let before = gatePort.read(0, size: 1) & 0x10
        passTicks(18)
        #expect(gatePort.read(0, size: 1) & 0x10 != before)
    }

    @Test func aMaskedTimerIsNotWaitedFor() {
        load(0, mode: 2, 100)
        _ = InterruptControllerPorts(pair: controllers, chip: 0).write(1, size: 1, 1)
        #expect(timer.nextInterrupt(after: clock.now) == nil)
    }

    @Test func countOfOneDoesNotHang() {
        load(0, mode: 2, 1)
        pass(3_600_000_000_000)
        #expect(controllers.hasRequest)
        #expect((timer.nextInterrupt(after: clock.now) ?? 0) > clock.now)
    }

    @Test func timerIsEditedAndRestored() throws {
        load(0, mode: 2, 1000)
        var state = timer.pitState
        #expect(state.channels[0].count == 1000)
        state.channels[0].count = 400
        timer.setPITState(state)
        passTicks(1)
        #expect(count(0) == 399)
        let saved = try #require(timer.save())
        timer.reset()
        #expect(timer.nextInterrupt(after: clock.now) == nil)
        timer.restore(saved)
        #expect(timer.pitState.channels[0].count == 400)
        timer.initialiseAsBIOS()
        #expect(timer.pitState.channels[0].count == 65536)
        #expect(timer.pitState.channels[0].mode == 3)
    }

    // MARK: the real-time clock

    private func register(_ index: UInt64) -> UInt8 {
        _ = realTime.write(0, size: 1, index)
        return UInt8(realTime.read(1, size: 1))
    }

    private func register(_ index: UInt64, _ value: UInt64) {
        _ = realTime.write(0, size: 1, index)
        _ = realTime.write(1, size: 1, value)
    }

    @Test func showsTheTimeInDecimal() {
        #expect([9, 8, 7, 4, 2, 0].map(register) == [0x23, 0x11, 0x14, 0x22, 0x13, 0x20])
        #expect(register(0x32) == 0x20)
        #expect(register(6) == 3)
        pass(100_000_000_000)
        #expect([4, 2, 0].map(register) == [0x22, 0x15, 0x00])
        #expect(register(0x0D) == 0x80)
    }

    @Test func twelveHoursAndBinary() {
        register(0x0B, 0x04)
        #expect(register(4) == 0x8A)
        register(0x0B, 0x06)
        #expect(register(4) == 22)
        #expect(register(9) == 23)
    }

    @Test func isSet() {
        register(0x0B, 0x82)
        for (index, value) in [(9, 0x24), (8, 0x02), (7, 0x29), (4, 0x23), (2, 0x59), (0, 0x58)] {
            register(UInt64(index), UInt64(value))
        }
        pass(5_000_000_000)
        #expect(register(0) == 0x58)
        register(0x0B, 0x02)
        pass(3_000_000_000)
        #expect([8, 7, 4, 2, 0].map(register) == [0x03, 0x01, 0x00, 0x00, 0x01])
        #expect(register(6) == 6)
    }

    @Test func periodicInterrupt() {
        InterruptControllerPorts(pair: controllers, chip: 1).reset()
        controllers.initialiseAsBIOS()
        _ = InterruptControllerPorts(pair: controllers, chip: 1).write(1, size: 1, 0)
        register(0x0B, 0x42)
        let next = realTime.nextInterrupt(after: clock.now)
        #expect(next == 976_562)
        pass(976_562)
        #expect(controllers.acknowledge() == 0x70)
        #expect(register(0x0C) & 0xC0 == 0xC0)
        #expect(register(0x0C) == 0)
    }

    @Test func alarmComesAtItsTime() {
        _ = InterruptControllerPorts(pair: controllers, chip: 1).write(1, size: 1, 0)
        for (index, value) in [(5, 0x22), (3, 0x14), (1, 0x00)] { register(UInt64(index), UInt64(value)) }
        register(0x0B, 0x22)
        pass(39_000_000_000)
        #expect(!controllers.hasRequest)
        pass(1_000_000_000)
        #expect(controllers.hasRequest)
        #expect(register(0x0C) & 0xB0 == 0xB0)
    }

    @Test func updateIsAnnounced() {
        pass(999_800_000)
        #expect(register(0x0A) & 0x80 != 0)
        pass(300_000)
        #expect(register(0x0A) & 0x80 == 0)
    }

    @Test func theMemoryKeeps() throws {
        register(0x40, 0xA5)
        let saved = try #require(realTime.save())
        realTime.reset()
        #expect(register(0x40) == 0xA5)
        register(0x40, 0)
        realTime.restore(saved)
        #expect(register(0x40) == 0xA5)
        #expect(realTime.clockState.memory[0x40] == 0xA5)
    }

    @Test(arguments: [Int64(0), 951_782_400, 1_700_000_000, 4_102_444_799, -1])
    func calendarGoesBothWays(_ seconds: Int64) {
        #expect(CalendarTime(seconds: seconds).seconds == seconds)
    }

    @Test func leapDay() {
        let day = CalendarTime(seconds: 951_782_400)
        #expect((day.year, day.month, day.day) == (2000, 2, 29))
        #expect(CalendarTime.days(in: 2, of: 2000) == 29)
        #expect(CalendarTime.days(in: 2, of: 1900) == 28)
    }

    /// So soon may one interrupt follow another into a guest that runs freely: by what its host's exits take.
    @Test(
        arguments: [
            (3_000, 50_000), (12_000, 96_000), (500_000, 4_000_000), (.max, 16_000_000),
        ] as [(UInt64, UInt64)])
    func interruptsLeaveTheGuestTimeBetweenThem(exit: UInt64, gap: UInt64) {
        #expect(VCPURunner.interruptGap(exit: exit) == gap)
    }

    // MARK: the guest's time

    @Test func timePassesOnlyWhileTheGuestRuns() {
        let start = clock.now
        #expect(clock.now == start)
        clock.begin(at: 1_000)
        clock.end(at: 3_500)
        #expect(clock.now == start + 2_500)
        // A second end is nothing.
        clock.end(at: 9_000)
        #expect(clock.now == start + 2_500)
        clock.stepTime = 250
        clock.stepped()
        #expect(clock.now == start + 2_750)
        clock.stepTime = .max
        #expect(clock.stepTime == GuestClock.longestStepTime)
    }
}
