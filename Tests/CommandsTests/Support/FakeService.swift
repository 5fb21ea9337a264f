import Commands
import Debugger

/// Serves nobody, and remembers what it was told.
final class FakeService: SessionService {
    let address: String
    private(set) var stops = 0
    private(set) var isClosed = false

    init(_ address: String) { self.address = address }

    var summary: String { "Waiting at \(address)." }
    var descriptor: Int32 { -1 }
    func serve() {}
    func guestStopped(_ stop: Stop) { stops += 1 }
    func stopFailed(_ error: DebuggerError) {}
    func close() { isClosed = true }
}
