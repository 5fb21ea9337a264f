import CLinux
import Glibc

/// The tables in the kernel that the programs count in. They live as long as this value or a loaded program.
struct CounterMaps: Sendable {
    /// How many there may be of each; what finds no room is counted in ``totals``.
    struct Sizes: Sendable, Hashable {
        /// Slots; a power of two.
        var threads: UInt32 = 4096
        /// Threads whose slot another one has.
        var hashed: UInt32 = 1024
        var timed: UInt32 = 16384
        var counted: UInt32 = 65536
    }

    /// Of the words of a thread's state.
    enum State {
        static let exitTime = 0
        static let exitCode = 8
        static let userspaceTime = 16
        static let userspaceCode = 24
        static let emulationStart = 32
        /// Nanoseconds and 1; 0 where there is none.
        static let emulated = 40
        static let process = 48
        static let hasHardwareExits = 56
        static let emulatedCode = 64
        /// KVM_RUN has come back once: the code says with what.
        static let hasReturned = 72
        /// The thread's number; 0 in a slot that is nobody's.
        static let thread = 80
        static let size = 88
    }

    /// Of the words of a timed counter, which the histogram follows.
    enum Timed {
        static let count = 0
        static let time = 8
        static let maximum = 16
        static let histogram = 24
        static let size = 24 + Histogram.bucketCount * 8
    }

    /// Of the words of ``near``: places of counters, those with times first. Each is a kind, a code and the counter.
    enum Near {
        /// A ``CounterKind``; 0 where the place is free.
        static let kind = 0
        static let code = 8
        static let counter = 16
        private static let timedSize = counter + Timed.size
        private static let plainSize = counter + 8
        /// Two reasons of KVM_RUN's return with the times of their emulation, or more of either kind where there is but one.
        static let timed = stride(from: 0, to: 6 * timedSize, by: timedSize)
        static let plain = stride(
            from: 6 * timedSize, to: 6 * timedSize + 4 * plainSize, by: plainSize)
        static let size = 6 * timedSize + 4 * plainSize
    }

    /// Of the words of ``totals``.
    enum Totals {
        static let unkept = 0
        static let unpaired = 8
        /// Keys that were made in any of the maps: counted once they are there.
        static let entered = 16
        static let size = 24
    }

    static let keySize = 16

    /// A map, until nobody holds it or a program that uses it.
    final class Map: Sendable {
        let descriptor: Int32
        let valueSize: Int

        init(type: Int32, keySize: Int, valueSize: Int, entries: UInt32) throws(MonitorError) {
            let result = clinux_bpf_map_create(type, UInt32(keySize), UInt32(valueSize), entries)
            guard result >= 0 else {
                throw MonitorError(
                    "the kernel refuses a BPF map of \(entries) entries (\(String(cString: strerror(-result))))",
                    remedy: result == -EPERM || result == -EACCES
                        ? "it takes CAP_BPF and CAP_PERFMON: run kvmscope as root" : nil)
            }
            descriptor = result
            self.valueSize = valueSize
        }

        deinit { close(descriptor) }
    }

    /// Threads' states: each has the slot of its number's low bits, which a program finds without a call.
    let slots: Map
    /// By slot: the first counters of the thread that has it.
    let near: Map
    /// By slot: the thread that has it. Who makes the entry has the slot, so that two cannot take it at once.
    let claims: Map
    /// By thread: the states of those whose slot another thread has.
    let threads: Map
    /// By ``CounterKey``: those with times.
    let timed: Map
    /// By ``CounterKey``: 8 bytes.
    let counted: Map
    let totals: Map
    /// A timed counter of zeros: it is too large for a program's stack.
    let zero: Map
    let slotCount: UInt32

    func slot(of thread: Int32) -> UInt32 { UInt32(bitPattern: thread) & (slotCount - 1) }

    init(_ sizes: Sizes) throws(MonitorError) {
        precondition(sizes.threads.nonzeroBitCount == 1, "slots are found by a number's low bits")
        slotCount = sizes.threads
        slots = try Map(
            type: clinux_bpf_map_array, keySize: 4, valueSize: State.size, entries: slotCount)
        near = try Map(type: clinux_bpf_map_array, keySize: 4, valueSize: Near.size, entries: slotCount)
        claims = try Map(type: clinux_bpf_map_hash, keySize: 4, valueSize: 8, entries: slotCount)
        threads = try Map(
            type: clinux_bpf_map_hash, keySize: 4, valueSize: State.size, entries: sizes.hashed)
        timed = try Map(
            type: clinux_bpf_map_hash, keySize: Self.keySize, valueSize: Timed.size, entries: sizes.timed)
        counted = try Map(
            type: clinux_bpf_map_hash, keySize: Self.keySize, valueSize: 8, entries: sizes.counted)
        totals = try Map(type: clinux_bpf_map_array, keySize: 4, valueSize: Totals.size, entries: 1)
        zero = try Map(type: clinux_bpf_map_array, keySize: 4, valueSize: Timed.size, entries: 1)
    }
}
