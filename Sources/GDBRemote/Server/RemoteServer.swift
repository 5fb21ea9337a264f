import CLinux
package import Commands
import DebugTarget
package import Debugger
import Glibc
import SystemPackage

/// Serves one client at a time by GDB's remote protocol: on a socket, or on standard input and output.
package final class RemoteServer: SessionService {
    private let session: Session
    private let options: RemoteOptions
    private let listener: Listener?
    private let address: ServerAddress
    package let descriptor: Int32

    private var connection: Connection?
    private var remote: RemoteSession?
    private var decoder = PacketDecoder(limit: RemoteSession.packetSize)
    /// What was read and is not answered yet.
    private var events: ArraySlice<WireEvent> = []

    /// What the client has not taken yet.
    var waitingBytes: Int { connection?.waitingBytes ?? 0 }

    /// Begins to listen.
    package init(_ session: Session, at address: ServerAddress, _ options: RemoteOptions)
        throws(RemoteServerError)
    {
        self.session = session
        var options = options
        let set = clinux_poll_set()
        guard set >= 0 else { throw RemoteServerError("cannot wait for clients", Errno(rawValue: -set)) }
        descriptor = set
        if case .standard = address {
            listener = nil
            self.address = address
            // A program that a client has started ends with it.
            options.endsWithClient = true
            self.options = options
            let input = dup(STDIN_FILENO)
            let output = dup(STDOUT_FILENO)
            guard input >= 0, output >= 0, clinux_set_nonblocking(input) == 0,
                clinux_set_nonblocking(output) == 0, clinux_poll_set_change(set, input, 1) == 0
            else {
                throw RemoteServerError(
                    .cannotListen, "standard input and output are not a connection",
                    remedy: "`target remote | kvmscope ... --gdb stdio` in GDB makes one")
            }
            // Whatever else is printed must not stand between packets.
            dup2(STDERR_FILENO, STDOUT_FILENO)
            begin(Connection(input: input, output: output, name: "standard input", set: set))
        } else {
            self.options = options
            let listener: Listener
            do throws(RemoteServerError) {
                listener = try Listener(address)
            } catch {
                Glibc.close(set)
                throw error
            }
            self.listener = listener
            self.address = listener.address
            clinux_poll_set_change(set, listener.descriptor, 1)
        }
    }

    deinit { Glibc.close(descriptor) }

    package var summary: String {
        if let connection, let remote {
            return "\(remote.clientName) at \(connection.name) debugs the guest, by \(address)."
        }
        let warning = address.isLocal ? "" : " Other hosts can connect, too, and do what you can."
        return "Waiting for GDB or LLDB at \(address).\(warning)"
    }

    // MARK: one turn of the loop

    package func serve() {
        accept()
        guard let connection else { return }
        connection.flush()
        takeEvents(connection)
        if events.isEmpty {
            guard let bytes = connection.read() else { return end() }
            events = decoder.feed(bytes)[...]
            takeEvents(connection)
        }
        if connection.isClosed || remote?.isOver ?? true { end() }
    }

    /// Answers what was read, as long as the client takes the answers.
    private func takeEvents(_ connection: Connection) {
        guard let remote else { return }
        while !connection.isFull, let event = events.popFirst() {
            remote.take(event)
            decoder.checks = !remote.isReliable
            if event == .stranger {
                session.announce(
                    "A program that speaks another protocol connected to \(address), and was turned away.")
            }
            if remote.isOver { return }
        }
    }

    private func accept() {
        while let listener, let (descriptor, name) = listener.accept() {
            guard connection == nil else {
                refuse(descriptor, name)
                continue
            }
            begin(Connection(input: descriptor, output: descriptor, name: name, set: self.descriptor))
            session.announce("A debugger at \(name) has connected.")
        }
    }

    /// A second client is told why before it is closed; what it cannot take at once it does not get.
    private func refuse(_ descriptor: Int32, _ name: String) {
        let other = connection?.name ?? ""
        let words = "kvmscope serves another debugger, at \(other); one at a time"
        let packet = PacketEncoder.packet(Array("E.\(words)".utf8))
        _ = packet.withUnsafeBytes { bytes in
            // SAFETY: the array's bytes, for this call.
            unsafe clinux_write(descriptor, bytes.baseAddress, bytes.count)
        }
        Glibc.close(descriptor)
        session.announce("A second debugger, at \(name), was refused: one is served at a time.")
    }

    private func begin(_ connection: Connection) {
        self.connection = connection
        decoder = PacketDecoder(limit: RemoteSession.packetSize)
        events = []
        remote = RemoteSession(session: session, options: options) { [weak connection] bytes in
            connection?.send(bytes)
        }
    }

    private func end() {
        guard let connection else { return }
        self.connection = nil
        let remote = remote
        self.remote = nil
        remote?.leave()
        connection.close()
        if listener != nil {
            session.announce("The debugger at \(connection.name) has gone.")
        } else {
            session.end()
        }
    }

    // MARK: the guest

    package func guestStopped(_ stop: Stop) {
        remote?.guestStopped(stop)
        if remote?.isOver ?? false { end() }
    }

    package func stopFailed(_ error: DebuggerError) { remote?.stopFailed(error) }

    package func close() {
        if connection != nil { end() }
        if let listener {
            clinux_poll_set_change(descriptor, listener.descriptor, 0)
            listener.close()
        }
    }
}

extension RemoteSession {
    /// For people.
    var clientName: String { client == .lldb ? "LLDB" : "GDB" }
}
