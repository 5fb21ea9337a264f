/// A target that can be started again, because it made its guest.
public protocol Restarting: Target {
    /// Makes memory, devices and vCPUs what they were before the first KVM_RUN. An image that came from a file is read
    /// anew. All vCPUs are stopped, no page is protected and no patch is in the memory.
    ///
    /// - Throws: where the image cannot be read any more, or no longer fits; nothing has changed then.
    func restart() throws
}

/// A reset that the guest asked for, and that has not been done yet.
public struct GuestReset: Sendable, Hashable {
    public enum Cause: String, Sendable, Hashable {
        /// A pulse of the reset line by the keyboard controller, port 0x64.
        case keyboardController
        /// Bit 0 of port 0x92.
        case systemControl
        /// Bit 2 of port 0xCF9.
        case resetControl
        /// The BIOS's reset vector, FFFF:0000.
        case firmware
        /// KVM_EXIT_SYSTEM_EVENT, KVM_SYSTEM_EVENT_RESET.
        case systemEvent
    }
    public var cause: Cause
    /// What the guest wrote, or the event's type.
    public var value: UInt64
    public init(_ cause: Cause, value: UInt64) {
        self.cause = cause
        self.value = value
    }
}
