import DebugTarget
import Debugger
import X86

extension CommandTable {
    /// About the devices of a machine of our own, and the time that they live in.
    static let deviceCommands: [Command] = [
        Command(
            "info io", [], "", .exits, "what is on the ports, what nobody answered, and what came in",
            details: """
                Accesses to ports and memory that nothing answers read all ones and drop what is written; they are counted by \
                address. Ports of hardware that the machine has not, and that programs look for, are listed as absent.
                """,
            examples: [.init("info io", "devices and unclaimed accesses")], whileRunning: true,
            action: DeviceActions.io),
        Command(
            "info rtc", ["info cmos"], "", .exits, "show the real-time clock and its memory",
            details:
                "Of a guest with `--irqchip user`: the clock shows the guest's time, which stands while it is stopped.",
            examples: [.init("info rtc", "the time and the registers")], whileRunning: true,
            action: DeviceActions.realTimeClock),
        Command(
            "set step-time", [], "NANOSECONDS", .running,
            "how long a stepped instruction takes in the guest's time",
            details: """
                With `--irqchip user` the guest's timers run in its own time: as the host's while it runs, not at all while it \
                is stopped, and by this much for each instruction that is stepped; 100 at first, a second at most.
                """,
            examples: [.init("set step-time 1000", "a microsecond each")], completion: [.expression],
            whileRunning: true, action: DeviceActions.setStepTime),
        Command(
            "show step-time", [], "", .running, "how long a stepped instruction takes, and the guest's time",
            examples: [.init("show step-time", "both")], whileRunning: true,
            action: DeviceActions.showStepTime),
    ]
}

enum DeviceActions {
    static func io(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        guard let target = session.debugger.target as? any DeviceListing else {
            throw call.error(
                "the devices of \(session.debugger.target.name) are another program's",
                remedy: "`info exits` counts the accesses that leave the guest")
        }
        return .done(DevicesOutput(target.deviceState))
    }

    static func realTimeClock(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        guard let clock = (session.debugger.target as? any RealTimeClockProviding)?.realTimeClock else {
            throw call.error(
                "\(session.debugger.target.name) has no real-time clock that can be read from here",
                remedy: "a guest of kvmscope's own has one with `--irqchip user`")
        }
        return .done(RealTimeClockOutput(clock))
    }

    private static func timed(
        _ session: Session, _ call: Invocation
    ) throws(CommandError) -> any GuestTimekeeping {
        guard let target = session.debugger.target as? any GuestTimekeeping, target.hasGuestTime else {
            throw call.error(
                "the time of \(session.debugger.target.name) is the host's",
                remedy: "a guest of kvmscope's own has its own time with `--irqchip user`")
        }
        return target
    }

    static func setStepTime(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        guard !call.rest.text.isEmpty else { throw call.usageError("`set step-time` takes nanoseconds") }
        let target = try timed(session, call)
        let value = try session.number(call.rest, call)
        guard value <= 1_000_000_000 else {
            throw call.error(
                "a step takes 0 to 1,000,000,000 ns, not \(session.signed(value))", at: call.rest)
        }
        target.stepTime = .nanoseconds(Int64(value))
        return .done(GuestTimeOutput(target))
    }

    static func showStepTime(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        return .done(GuestTimeOutput(try timed(session, call)))
    }
}
