import CLinux
import Glibc

/// Bytes to and from one client, never waiting. What cannot be sent yet is kept, and then nothing more is read.
final class Connection {
    let name: String
    private let input: Int32
    private let output: Int32
    private let set: Int32
    private var waiting: [UInt8] = []
    private var sent = 0
    private(set) var isClosed = false
    /// What the poll set watches.
    private var watched: (input: Int32, output: Int32) = (1, 0)

    /// Answers to requests that were read before are kept beyond this; no more requests are read.
    private static let enough = 1 << 20
    /// A client that takes nothing of so much is gone.
    private static let most = 256 << 20
    private static let readSize = 1 << 18

    /// - Parameter set: the poll set that it joins.
    init(input: Int32, output: Int32, name: String, set: Int32) {
        self.input = input
        self.output = output
        self.name = name
        self.set = set
        clinux_poll_set_change(set, input, 1)
    }

    /// So much waits to be taken that no more is answered.
    var isFull: Bool { waitingBytes >= Self.enough }
    var waitingBytes: Int { waiting.count - sent }

    /// What has come, a part of it at most; empty where nothing has, nil at the end.
    func read() -> [UInt8]? {
        guard !isClosed else { return nil }
        guard !isFull else { return [] }
        var result = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: Self.readSize) { buffer, count in
            // SAFETY: the call writes within the size that it is told, and says how much it wrote.
            result = unsafe clinux_read(input, buffer.baseAddress, buffer.count)
            count = max(0, result)
        }
        if result > 0 { return bytes }
        return result == -Int(EAGAIN) || result == -Int(EINTR) ? [] : nil
    }

    func send(_ bytes: [UInt8]) {
        guard !isClosed else { return }
        if waiting.isEmpty {
            waiting = bytes
        } else {
            waiting += bytes
        }
        flush()
    }

    /// Sends what waits, as far as the other side takes it.
    func flush() {
        while sent < waiting.count, !isClosed {
            let result = waiting.withUnsafeBytes { bytes in
                // SAFETY: the part begins within the array, and ends with it.
                unsafe clinux_write(output, bytes.baseAddress?.advanced(by: sent), bytes.count - sent)
            }
            if result > 0 {
                sent += result
            } else if result == -Int(EAGAIN) {
                break
            } else if result != -Int(EINTR) {
                isClosed = true
            }
        }
        if sent == waiting.count {
            waiting.removeAll(keepingCapacity: waiting.count < 1 << 20)
            sent = 0
        } else if waiting.count - sent > Self.most {
            isClosed = true
        }
        watch()
    }

    private func watch() {
        guard !isClosed else { return }
        let wanted: (input: Int32, output: Int32) = (isFull ? 0 : 1, sent < waiting.count ? 2 : 0)
        guard wanted != watched else { return }
        watched = wanted
        if input == output {
            clinux_poll_set_change(set, input, wanted.input | wanted.output)
        } else {
            clinux_poll_set_change(set, input, wanted.input)
            clinux_poll_set_change(set, output, wanted.output)
        }
    }

    /// Ends it; what waits is sent as far as that is possible at once.
    func close() {
        if !isClosed { flush() }
        isClosed = true
        clinux_poll_set_change(set, input, 0)
        if output != input { clinux_poll_set_change(set, output, 0) }
        Glibc.close(input)
        if output != input { Glibc.close(output) }
    }
}
