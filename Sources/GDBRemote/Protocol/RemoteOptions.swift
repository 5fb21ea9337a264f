/// Which layout of the registers clients get.
package enum LayoutChoice: String, Sendable, CaseIterable {
    /// GDB's changes with the guest's mode; LLDB, which cannot change it, has the 64-bit one.
    case automatic = "auto"
    case i8086
    case i386
    case long64 = "x86-64"

    var architecture: RemoteArchitecture? {
        switch self {
        case .automatic: nil
        case .i8086: .i8086
        case .i386: .i386
        case .long64: .long64
        }
    }
}

/// What a connection begins with.
package struct RemoteOptions: Sendable {
    package var layout = LayoutChoice.automatic
    /// The session ends with the client, which has started it.
    package var endsWithClient = false
    /// The guest ends with the session, so that a client may end both.
    package var ownsGuest: Bool
    package init(layout: LayoutChoice = .automatic, ownsGuest: Bool = true) {
        self.layout = layout
        self.ownsGuest = ownsGuest
    }
}
