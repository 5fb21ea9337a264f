public import DebugTarget
import SystemPackage

/// Why a server cannot be.
public struct RemoteServerError: AdvisedError, Sendable, Hashable {
    public enum Code: String, Sendable, Hashable {
        case badAddress
        /// The system refuses it.
        case cannotListen
    }

    public var code: Code
    public var message: String
    public var remedy: String?
    public var advice: Advice? { code == .badAddress ? .giveServerAddress : nil }

    init(_ code: Code, _ message: String, remedy: String? = nil) {
        self.code = code
        self.message = message
        self.remedy = remedy
    }

    init(_ attempt: String, _ errno: Errno) {
        self.init(.cannotListen, "\(attempt): \(errno)")
        switch errno {
        case .addressInUse: remedy = "another program listens there: choose another one, or end that one"
        case .addressNotAvailable: remedy = "no interface of this host has that address"
        case .permissionDenied:
            remedy = "ports below 1024 are root's, and a path needs a folder that you may write to"
        default: break
        }
    }
}
