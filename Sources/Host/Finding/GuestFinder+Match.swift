extension GuestFinder {
    /// The guest that a process id or a whole name stands for. A process id is looked at directly:
    /// other processes do not matter then.
    public func guest(matching text: String) throws(HostGuestError) -> HostGuest {
        if let process = Int32(text), let guest = guest(process: process) { return guest }
        return try guests().guest(matching: text)
    }
}
