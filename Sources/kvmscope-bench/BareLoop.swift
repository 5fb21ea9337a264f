import CBench
import Interface

/// The bare C loop of the same ioctls: a VM of its own, in this process.
struct BareLoop: ~Copyable {
    private let number: Int32

    init(_ guest: cbench_guest) throws {
        number = cbench_open(guest)
        guard number >= 0 else {
            throw BenchFailure("the bare C loop could not be set up (errno \(-number))")
        }
    }

    deinit { cbench_close(number) }

    /// What an exit may cost, in microseconds, for the lines to mean something.
    static let dearestExit = 30.0

    /// What a step costs that nothing is done about, in microseconds: the least of a few rounds.
    static func exitPrice() throws -> Double {
        let loop = try BareLoop(CBENCH_STEP)
        var least = Double.infinity
        for _ in 0..<5 { least = min(least, try loop.run(1000) / 1_000_000) }
        return least
    }

    /// From now on each exit copies so many bytes into the guest's memory.
    func copy(_ count: Int) throws {
        let status = cbench_copy(number, UInt64(count))
        guard status == 0 else { throw BenchFailure("the bare C loop cannot copy (errno \(-status))") }
    }

    /// Nanoseconds that `count` exits take.
    func run(_ count: Int) throws -> Double {
        var time: UInt64 = 0
        let status = cbench_run(number, UInt64(count), &time)
        guard status == 0 else { throw BenchFailure("the bare C loop failed (errno \(-status))") }
        return Double(time)
    }
}

/// The code that the bare loop runs, for 0000:7C00.
func guestCode(_ guest: cbench_guest) -> [UInt8] {
    var length: UInt64 = 0
    // SAFETY: cbench_code returns a static array and its length.
    let start = cbench_code(guest, &length)
    return Array(UnsafeBufferPointer(start: start, count: Int(length)))
}

struct BenchFailure: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

/// Nanoseconds that `work` takes.
func timed(_ work: () throws -> Void) rethrows -> Double {
    let start = cbench_now()
    try work()
    return Double(cbench_now() - start)
}

/// Runs ours and the bare loop in turns, so that what else the machine does meets both, and compares rates.
func compare(
    _ name: String, atLeast line: Double?, guest: cbench_guest, count: Int, rounds: Int,
    ours: (Int) throws -> Void
) throws -> Figure {
    let bare = try BareLoop(guest)
    _ = try bare.run(count / 4)
    try ours(count / 4)
    var ratios: [Double] = []
    var bareTimes: [Double] = []
    var ourTimes: [Double] = []
    for round in 0..<rounds {
        var bareTime = 0.0
        var ourTime = 0.0
        if round % 2 == 0 {
            bareTime = try bare.run(count)
            ourTime = try timed { try ours(count) }
        } else {
            ourTime = try timed { try ours(count) }
            bareTime = try bare.run(count)
        }
        ratios.append(bareTime / ourTime)
        bareTimes.append(bareTime / Double(count) / 1000)
        ourTimes.append(ourTime / Double(count) / 1000)
    }
    return Figure(
        name: name, value: median(ratios), unit: "", line: line.map { .atLeast($0) } ?? .reported,
        parts: [("bare C", median(bareTimes), "us"), ("ours", median(ourTimes), "us")])
}
