/// A target that completes instructions which the emulator of its host's KVM lacks.
public protocol Assisting: Target {
    /// On at first. Safe from any thread.
    var assists: Bool { get set }
    /// What was completed so far, the most frequent first.
    var assisted: [AssistedInstruction] { get }
}

/// An instruction that was completed, and how often.
public struct AssistedInstruction: Sendable, Hashable {
    /// Its mnemonic.
    public var name: String
    public var count: UInt64 = 0
    /// How many of them raised an exception, as the processor would have.
    public var faults: UInt64 = 0
    /// The linear address of the last one.
    public var lastAddress: UInt64

    public init(name: String, count: UInt64 = 0, faults: UInt64 = 0, lastAddress: UInt64) {
        self.name = name
        self.count = count
        self.faults = faults
        self.lastAddress = lastAddress
    }
}
