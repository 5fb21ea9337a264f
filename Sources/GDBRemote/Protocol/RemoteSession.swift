package import Commands
import DebugTarget
package import Debugger
import X86

/// One client's conversation: packets in, packets out. It knows no sockets.
///
/// All requests but resuming are answered at once. After a resume the answer is the guest's stop, whoever caused it.
package final class RemoteSession {
    /// In bytes of data; a client's memory transfers are as long as this lets them.
    package static let packetSize = 0x20000

    /// What the client waits for.
    enum Waiting: Equatable {
        case nothing
        /// The answer to a resume.
        case stop
        /// The answer to `?`, after the guest was stopped for it.
        case firstStop
        /// The answer to `monitor` with a command that lets the guest go.
        case command
    }

    /// Who speaks.
    enum Client: String { case gdb, lldb }

    let session: Session
    var debugger: Debugger { session.debugger }
    let options: RemoteOptions
    let send: ([UInt8]) -> Void
    let bank: RegisterBank
    let breakpoints: RemoteBreakpoints

    var client = Client.gdb
    /// What the client has said that it knows, of what is used here.
    var knows: Set<String> = []
    var layout: RegisterLayout
    var waiting = Waiting.nothing
    /// A stop that a change of the layout was told in place of; the next resume is answered with it.
    var postponed: Stop?
    /// A stop that a resume has just been answered with in place of resuming, and how often it still may be.
    var repeated: (stop: Stop, left: Int)?
    /// Packets that came before the guest had stopped for the client.
    private var held: [[UInt8]] = []
    private var isHolding = false
    /// The vCPU that registers and memory are read of.
    var vcpu: Int
    /// What `Hc` chose, for the old forms of resuming.
    var resumed = ThreadChoice.all
    /// The client stays when the guest ends, and may start it again (`target extended-remote`).
    var isExtended = false
    /// Addresses are physical (QEMU's PhyMemMode).
    var isPhysical = false
    /// Each packet carries its thread (LLDB).
    var hasThreadSuffix = false
    var hasErrorStrings = false
    /// Neither side acknowledges packets.
    package private(set) var isReliable = false
    private var becomesReliable = false
    /// The client is gone, or is to go.
    package var isOver = false
    private var hasLeft = false
    private var lastPacket: [UInt8] = []
    private let hasAVX: Bool

    /// - Parameter send: puts bytes into the connection.
    package init(session: Session, options: RemoteOptions, send: @escaping ([UInt8]) -> Void) {
        self.session = session
        self.options = options
        self.send = send
        bank = RegisterBank(session.debugger)
        breakpoints = RemoteBreakpoints(session.debugger)
        vcpu = session.debugger.selectedVCPU
        hasAVX = RegisterBank.hasAVX(session.debugger)
        layout = RegisterLayout.of(options.layout.architecture ?? .long64, hasAVX: hasAVX)
        // A client's first questions are about a guest that is stopped.
        if session.isRunning {
            isHolding = true
            session.debugger.interrupt()
        } else {
            chooseLayout()
        }
    }

    // MARK: what arrives

    package func take(_ event: WireEvent) {
        switch event {
        case .packet(let data):
            if !isReliable { send([UInt8(ascii: "+")]) }
            if isHolding, held.count < 64, !Self.isAnsweredAtOnce(data) {
                held.append(data)
            } else {
                answer(data)
            }
        case .interrupt: interrupt()
        case .acknowledged: break
        case .resend: if !lastPacket.isEmpty, !isReliable { send(lastPacket) }
        case .damaged: if !isReliable { send([UInt8(ascii: "-")]) }
        case .tooLong:
            if !isReliable { send([UInt8(ascii: "+")]) }
            reply(.failure(RemoteFailure(.noSpace, "a packet has more than \(Self.packetSize) bytes")))
        case .stranger: isOver = true
        }
    }

    /// What is about the conversation and not about the guest.
    private static func isAnsweredAtOnce(_ data: [UInt8]) -> Bool {
        let all: [StaticString] = [
            "qSupported", "QStartNoAckMode", "vMustReplyEmpty", "QThreadSuffixSupported",
        ]
        return all.contains { text in
            // SAFETY: a static string's bytes live as long as the program.
            data.starts(with: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
        }
    }

    private static func isResume(_ data: [UInt8]) -> Bool {
        guard let first = data.first else { return false }
        return Array("cCsS".utf8).contains(first) || data.starts(with: Array("vCont;".utf8))
    }

    private func answer(_ data: [UInt8]) {
        if !Self.isResume(data) { repeated = nil }
        var reader = PacketReader(data)
        do {
            reply(try respond(to: &reader))
        } catch {
            reply(.failure(error))
        }
        if becomesReliable {
            becomesReliable = false
            isReliable = true
        }
    }

    /// Stops the guest; a client's `monitor` command is ended by it, too.
    private func interrupt() {
        guard session.isRunning else { return }
        session.interrupt()
    }

    func startReliableMode() { becomesReliable = true }

    // MARK: what is sent

    func reply(_ reply: RemoteReply) {
        switch reply {
        case .later: return
        case .ok: sendPacket(Array("OK".utf8))
        case .unsupported: sendPacket([])
        case .text(let text): sendPacket(Array(text.utf8))
        case .bytes(let bytes): sendPacket(bytes, countsRuns: true)
        case .binary(let bytes): sendPacket(bytes)
        case .failure(let failure): sendPacket(Array(text(of: failure).utf8))
        }
    }

    /// GDB shows words after `E.`; LLDB has them after the number, where it has asked for them.
    private func text(of failure: RemoteFailure) -> String {
        let number = "E" + (failure.code < 16 ? "0" : "") + hexNumber(failure.code)
        switch client {
        case .lldb:
            guard hasErrorStrings else { return number }
            return number + ";" + String(decoding: hexText(Array(failure.message.utf8)), as: UTF8.self)
        case .gdb:
            // Braces and the like would be escaped, which is right, and line ends would not be shown.
            return "E." + failure.message.filter { !$0.isNewline }
        }
    }

    func sendPacket(_ data: [UInt8], countsRuns: Bool = false) {
        let packet = PacketEncoder.packet(data, countsRuns: countsRuns)
        if !isReliable { lastPacket = packet }
        send(packet)
    }

    /// Text for the client's user; only while the client waits for an answer to a resume or a command.
    func say(_ text: String) {
        // Two digits a character, and a byte for the packet's letter.
        let bytes = Array(text.utf8)
        let most = Self.packetSize / 4
        for start in stride(from: 0, to: bytes.count, by: most) {
            sendPacket([UInt8(ascii: "O")] + hexText(bytes[start..<min(start + most, bytes.count)]))
        }
    }

    // MARK: the guest

    /// The guest has stopped, whoever resumed it.
    package func guestStopped(_ stop: Stop) {
        vcpu = stop.vcpu
        let waited = waiting
        waiting = .nothing
        switch waited {
        case .nothing: postponed = nil
        case .stop: tell(stop)
        case .firstStop: reply(.bytes(stopReply(stop, reason: false)))
        case .command: finishCommand(stop)
        }
        guard isHolding else { return }
        isHolding = false
        chooseLayout()
        let packets = held
        held = []
        for packet in packets { answer(packet) }
    }

    package func stopFailed(_ error: DebuggerError) {
        isHolding = false
        guard waiting != .nothing else { return }
        waiting = .nothing
        reply(.failure(failure(error)))
    }

    /// Before the client reads the target description, which is what it takes for the guest's from there on.
    func chooseLayout() {
        layout = RegisterLayout.of(wantedArchitecture(of: vcpu), hasAVX: hasAVX)
    }

    func wantedArchitecture(of vcpu: Int) -> RemoteArchitecture {
        if let fixed = options.layout.architecture { return fixed }
        guard client == .gdb, let snapshot = debugger.stop[vcpu] else { return .long64 }
        return RemoteArchitecture(snapshot.mode.codeWidth(cs: snapshot.special.cs.attributes))
    }

    // MARK: the end

    /// The client is gone, or goes: what it set is taken back, and the guest is left as the policy says.
    /// - Parameter hasDetached: it has said that it goes.
    package func leave(hasDetached: Bool = false) {
        guard !hasLeft else { return }
        hasLeft = true
        isOver = true
        breakpoints.removeAll()
        let isForeign = debugger.target is any ExitForwarding
        let goesOn =
            switch session.disconnectPolicy {
            case .automatic: hasDetached || isForeign
            case .continue: true
            case .stop: false
            }
        if options.endsWithClient, options.ownsGuest { return session.end() }
        if goesOn, !session.isRunning {
            do throws(DebuggerError) {
                try session.resume(for: client.rawValue) { () throws(DebuggerError) in
                    try debugger.startContinue()
                }
            } catch {
                session.announce("The guest stays stopped: \(explained(error)).")
            }
        } else if !goesOn, session.isRunning {
            debugger.interrupt()
        }
    }
}

extension RemoteSession {
    /// A failure of the debugger, with what kvmscope's commands do about it.
    func failure(_ error: DebuggerError) -> RemoteFailure {
        let code: RemoteFailure.Code =
            switch error.code {
            case .unreadable, .badAddress: .unreadable
            case .noVCPU: .noThread
            case .running: .busy
            case .limit: .noSpace
            case .syntax, .unknownName, .outOfRange: .malformed
            case .refused: .permission
            case .noBreakpoint, .target, .interrupted: .io
            }
        return RemoteFailure(code, explained(error))
    }

    /// Does `body`, whose failure becomes the client's.
    func attempt<R>(_ body: () throws(DebuggerError) -> R) throws(RemoteFailure) -> R {
        do throws(DebuggerError) {
            return try body()
        } catch {
            throw failure(error)
        }
    }

    /// The vCPU of a thread.
    func vcpu(of thread: Int) throws(RemoteFailure) -> Int {
        let id = thread - 1
        guard debugger.target.vcpus.contains(where: { $0.id == id }) else {
            throw RemoteFailure(.noThread, "there is no thread \(thread)")
        }
        return id
    }
}
