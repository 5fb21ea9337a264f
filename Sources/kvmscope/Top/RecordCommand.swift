import ArgumentParser
import Commands
import Glibc
import KVMCore
import Monitor
import SystemPackage
import Terminal

/// `kvmscope record`: every event of KVM's, to a file.
struct RecordCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "record",
        abstract: "Record the exits of this host's KVM guests to a file.",
        discussion: """
            Every event of KVM's is kept, with its time, for `kvmscope report` and `kvmscope export`. No guest is stopped. It \
            records until Ctrl-C or for --seconds. What was recorded can be read at any time, also where the recorder was \
            killed.

            Needs perf's rings (root, or CAP_PERFMON). Each exit costs the guest more than under `kvmscope top`, which counts \
            in the kernel.

            Status: 0; 2 if the host or the guest cannot be recorded or the file cannot be written; 64 for a bad command line.
            """)

    @Argument(help: "The file; it must not be there yet.", completion: .file())
    var file: String

    @Argument(help: ArgumentHelp("Only this guest: a process id or a name.", valueName: "guest"))
    var guest: String?

    @Option(
        name: [.customShort("s"), .long],
        help: ArgumentHelp("End after so long: 0.1 to 86400 seconds.", valueName: "seconds"))
    var seconds: Double?

    @Flag(help: "Write over a file that is there.")
    var force = false

    mutating func validate() throws {
        if let seconds, !(seconds.isFinite && (0.1...86400).contains(seconds)) {
            throw ValidationError("--seconds is from 0.1 to 86400, not \(seconds)")
        }
    }

    func run() throws {
        do {
            let signals = try SignalPipe([SIGINT] + SignalPipe.ending)
            let process = try guest.map { try HostGuests().guest(matching: $0).process }
            let output = RecordingFile(creating: file, overwrites: force)
            let recorder = try Recorder(
                only: process, directory: HostGuests(only: process), sink: output.write)
            let begin = monotonicTime()
            let signal = try record(recorder, signals, from: begin)
            let end = monotonicTime()
            try recorder.end(now: end)
            tell(
                "recorded \(grouped(recorder.eventCount)) events in \(decimal(Double(end - begin) / 1e9)) s to \(file): "
                    + "\(grouped(recorder.byteCount)) bytes, \(recorder.lostCount == 0 ? "nothing" : grouped(recorder.lostCount)) lost"
            )
            if let signal, signal != SIGINT { throw ExitCode(status(ofSignal: signal)) }
        } catch let error as ExitCode {
            throw error
        } catch {
            tell(explained(error))
            throw ExitCode(2)
        }
    }

    /// - Returns: the signal that ended it.
    private func record(_ recorder: Recorder, _ signals: SignalPipe, from begin: UInt64) throws -> Int32? {
        let end = seconds.map { begin + UInt64($0 * 1e9) }
        var entries = ([signals.descriptor] + recorder.descriptors).map {
            pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
        }
        while true {
            let now = monotonicTime()
            try recorder.record(now: now)
            if let signal = signals.next() { return signal }
            if let end, now >= end { return nil }
            let left = end.map { ($0 - now + 999_999) / 1_000_000 } ?? .max
            _ = poll(&entries, nfds_t(entries.count), Int32(min(left, Self.period)))
        }
    }

    /// Milliseconds after which what has come is written at the latest.
    private static let period: UInt64 = 50
}

/// The file of a recording.
final class RecordingFile {
    private let path: String
    private let overwrites: Bool
    private var file: FileDescriptor?

    /// One to be written. It is made with the first bytes: what cannot begin leaves no file, and keeps the one that is there.
    init(creating path: String, overwrites: Bool) {
        self.path = path
        self.overwrites = overwrites
    }

    init(reading path: String) throws {
        self.path = path
        overwrites = false
        do {
            file = try FileDescriptor.open(FilePath(path), .readOnly, options: .closeOnExec)
        } catch {
            throw MonitorError("cannot read \(path): \(error)", remedy: "check the name")
        }
    }

    deinit { try? file?.close() }

    private func create() throws(MonitorError) -> FileDescriptor {
        do {
            return try FileDescriptor.open(
                FilePath(path), .writeOnly,
                options: [.create, .closeOnExec, overwrites ? .truncate : .exclusiveCreate],
                permissions: [.ownerReadWrite])
        } catch Errno.fileExists {
            throw MonitorError("\(path) is there already", remedy: "give another file, or --force")
        } catch {
            throw MonitorError(
                "cannot write \(path): \(error)", remedy: "its folder has to exist and be writable")
        }
    }

    func write(_ bytes: [UInt8]) throws(MonitorError) {
        if file == nil { file = try create() }
        do {
            _ = try file?.writeAll(bytes)
        } catch {
            throw MonitorError(
                "cannot write \(path): \(error)", remedy: "what was written before can be read")
        }
    }

    /// - Returns: fewer bytes than are asked for at the end alone.
    func read(_ count: Int) throws(MonitorError) -> [UInt8] {
        guard let file else { return [] }
        do {
            return try [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
                filled = 0
                while filled < count {
                    let rest = UnsafeMutableRawBufferPointer(
                        rebasing: UnsafeMutableRawBufferPointer(buffer)[filled...])
                    let got = try file.read(into: rest)
                    guard got > 0 else { break }
                    filled += got
                }
            }
        } catch {
            throw MonitorError("cannot read \(path): \(error)")
        }
    }

    func reader() throws(MonitorError) -> RecordingReader {
        do {
            return try RecordingReader(source: read)
        } catch {
            throw MonitorError("\(path): \(error.message)", remedy: error.remedy)
        }
    }

    /// Says what of the file was not read.
    ///
    /// - Returns: false where it is damaged.
    func explain(_ ending: RecordingReader.Ending) -> Bool {
        switch ending {
        case .whole: return true
        case .cut(let place):
            tell(
                "\(path) was read up to byte \(place), where it ends without an end: its recorder was killed, or is still at it"
            )
            return true
        case .damaged(let place, let why):
            tell("\(path) was read up to byte \(place): the frame there is damaged (\(why))")
            return false
        }
    }
}
