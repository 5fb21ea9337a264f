/// A device in which something happens as time passes. Times are the guest's, in nanoseconds since the machine was made.
protocol TimedDevice: Device {
    /// Does what is due up to `time`, as raising its line.
    func advance(to time: UInt64)
    /// When it will raise its line next, after `time`; nil where it will not by itself, or nobody would hear of it.
    func nextInterrupt(after time: UInt64) -> UInt64?
}
