import DebugTarget
public import Debugger
import X86

/// Lets other programs debug the session's guest beside its user: GDB's remote protocol is one.
///
/// Called from the session's thread alone, by the one loop that also serves stops, input and signals. It never blocks.
public protocol SessionService: AnyObject {
    /// Where it listens, and who is connected: a sentence for people.
    var summary: String { get }
    /// Polls readable while ``serve()`` has something to do.
    var descriptor: Int32 { get }
    /// Reads what clients ask, does it, and answers.
    func serve()
    /// The guest has stopped; told before anybody else.
    func guestStopped(_ stop: Stop)
    /// The guest's stop could not be collected.
    func stopFailed(_ error: DebuggerError)
    /// Its clients are told, what they set is taken back, and nothing listens any more.
    func close()
}

/// What becomes of the guest when a client goes away.
public enum DisconnectPolicy: String, Sendable, Hashable, CaseIterable {
    /// A client that detaches leaves the guest running. Where one vanishes, a guest that another program runs goes on,
    /// and one of kvmscope's own is stopped.
    case automatic = "auto"
    case stop
    case `continue`
}

extension Session {
    /// The service's descriptor, to be polled with all else; -1 for none, which poll(2) passes over.
    public var serviceDescriptor: Int32 { service?.descriptor ?? -1 }

    /// Does what clients ask. To be called when ``serviceDescriptor`` polls readable, and at times besides.
    public func serve() { service?.serve() }

    /// What services have to say to the user, once.
    public func takeNotices() -> [any CommandOutput] {
        defer { notices.removeAll() }
        return notices.map { Message($0) }
    }

    /// Says something to the user when the front end looks next.
    public func notify(_ text: String) { announce(text) }

    /// As ``notify(_:)``, for a service.
    package func announce(_ text: String) {
        notices.append(text)
        // Nobody may be there to look.
        if notices.count > 100 { notices.removeFirst() }
    }

    /// Begins to serve at an address; what was served before ends.
    @discardableResult
    public func startService(at address: String) throws(CommandError) -> any SessionService {
        guard let serviceMaker else {
            throw CommandError("this front end cannot serve other programs")
        }
        stopService()
        let service = try serviceMaker(self, address)
        self.service = service
        return service
    }

    /// Takes over a service that is made already.
    public func use(_ service: any SessionService) {
        stopService()
        self.service = service
    }

    /// Ends what is served. False where nothing was.
    @discardableResult
    public func stopService() -> Bool {
        guard let service else { return false }
        self.service = nil
        service.close()
        return true
    }

    /// The guest is ended with the session, because a client asks for it.
    package func end() { isEnded = true }

    /// Why the guest stopped, as a sentence.
    package func sentence(about stop: Stop) -> String {
        StopOutput.Reason(stop.reason, inRealMode: stop[stop.vcpu]?.mode == .real).text
    }
}
