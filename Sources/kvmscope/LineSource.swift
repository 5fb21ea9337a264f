import Glibc
import SystemPackage
import Terminal

/// Where a console's lines come from.
protocol LineSource: AnyObject {
    /// A person types them.
    var isInteractive: Bool { get }
    /// The next line, with the prompt that a person sees; ``LineInput/woken`` when one of `descriptors` polls readable, or after `milliseconds` (nil: never).
    func next(prompt: String, waking descriptors: [Int32], milliseconds: Int?) -> LineInput
    /// Makes room for output; what was typed so far comes back with the next ``next(prompt:waking:milliseconds:)``.
    func hide()
    /// Forgets what was typed so far.
    func drop()
}

/// readline on a terminal.
final class TypedLines: LineSource {
    let isInteractive = true
    private let editor: LineEditor

    init(_ editor: LineEditor) { self.editor = editor }

    func next(prompt: String, waking descriptors: [Int32], milliseconds: Int?) -> LineInput {
        editor.readLine(prompt: prompt, waking: descriptors, milliseconds: milliseconds)
    }
    func hide() { editor.hide() }
    func drop() { editor.drop() }
}

/// Lines of a file or of another program, on a descriptor.
final class PipedLines: LineSource {
    let isInteractive = false
    private let file: FileDescriptor
    private var bytes: [UInt8] = []
    /// What stands before it was taken.
    private var start = 0
    /// What stands before it holds no end of a line.
    private var searched = 0
    private var isAtEnd = false

    /// No command is longer.
    static let longest = 1 << 20

    init(_ file: FileDescriptor = .standardInput) { self.file = file }

    /// Whether there is anything before the end; waits until that is known, or `descriptor` polls readable.
    func hasAny(waking descriptor: Int32) -> Bool {
        while bytes.isEmpty, !isAtEnd {
            var waits = [file.rawValue, descriptor].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            // SAFETY: the array lives through the call, which is told how many entries it has.
            let ready = unsafe poll(&waits, nfds_t(waits.count), -1)
            if ready <= 0 || waits[1].revents != 0 { return true }
            read()
        }
        return !bytes.isEmpty
    }

    func next(prompt: String, waking descriptors: [Int32], milliseconds: Int?) -> LineInput {
        while true {
            if let line = takeLine() { return .line(line) }
            guard !isAtEnd else { return .endOfFile }
            var waits = ([file.rawValue] + descriptors).map {
                pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
            }
            // SAFETY: the array lives through the call, which is told how many entries it has.
            let ready = unsafe poll(&waits, nfds_t(waits.count), Int32(clamping: milliseconds ?? -1))
            if ready <= 0 || waits.dropFirst().contains(where: { $0.revents != 0 }) { return .woken }
            read()
        }
    }

    private func read() {
        do {
            let part = try [UInt8](unsafeUninitializedCapacity: 1 << 16) { buffer, count in
                // SAFETY: the buffer holds 64 KiB, and read() reports how many of them it filled.
                count = try file.read(into: UnsafeMutableRawBufferPointer(buffer))
            }
            if part.isEmpty { isAtEnd = true }
            bytes += part
        } catch Errno.wouldBlock {
            return
        } catch {
            tell("cannot read the commands: \(error)")
            isAtEnd = true
        }
    }

    private func takeLine() -> String? {
        let end: Int
        let next: Int
        if let found = bytes[searched...].firstIndex(of: 10) {
            (end, next) = (found, found + 1)
        } else if isAtEnd, start < bytes.count {
            (end, next) = (bytes.count, bytes.count)
        } else {
            searched = bytes.count
            if searched - start > Self.longest {
                tell("a command has more than \(Self.longest) bytes; it and what follows is not read")
                isAtEnd = true
                bytes = []
                (start, searched) = (0, 0)
            }
            return nil
        }
        let line = bytes[start..<end]
        let text = String(decoding: line.last == 13 ? line.dropLast() : line, as: UTF8.self)
        (start, searched) = (next, next)
        // What was taken goes when it is most of it, so that each byte moves a bounded number of times.
        if start > bytes.count / 2 {
            bytes.removeFirst(start)
            (start, searched) = (0, 0)
        }
        return text
    }

    func hide() {}
    func drop() {}
}
