import CLinux
import Glibc
import Synchronization

/// Where ELF files are read: a process of its own, so that a file that makes elfutils crash, or use all memory, or
/// never end, costs an error and not the session.
public struct SymbolReader: Sendable, Hashable {
    /// The hidden argument that makes an executable be the reader; the file's path follows it.
    public static let argument = "__read-symbols"

    /// An executable that calls ``main(path:)`` when it gets ``argument``; nil: files are read in this process.
    public var program: String?
    /// After so many seconds it is given up.
    public var timeLimit: Int32

    public init(program: String?, timeLimit: Int32 = 60) {
        self.program = program
        self.timeLimit = timeLimit
    }

    /// The running program.
    public static var current: SymbolReader { SymbolReader(program: "/proc/self/exe") }
    /// Reads in this process: for programs that are no kvmscope, such as tests.
    public static let inProcess = SymbolReader(program: nil)

    /// An answer is an outcome in one byte, and the file or the error.
    private enum Outcome: UInt8 { case file, error }
    private static let magic: [UInt8] = [0x7F, 0x45, 0x4C, 0x46]
    private static let largestAnswer = 1 << 31
    private static let chunk = 1 << 16
    /// Of an ELF file, which is mapped and not read whole.
    private static let largestFile = 1 << 40
    /// Of a map.
    private static let largestMap = 1 << 30

    // MARK: the debugger's side

    /// A file in whatever format it is.
    ///
    /// - Parameter shouldStop: asked while another process reads it; true gives it up.
    package func read(
        _ path: String, shouldStop: () -> Bool = { false }
    ) throws(SymbolFileError) -> SymbolFile {
        let start: [UInt8]
        do {
            start = try FileBytes.load(path, limit: Self.largestFile, first: 4)
        } catch {
            throw SymbolFileError("opening it failed: \(error)")
        }
        if start == Self.magic { return try read(elf: path, shouldStop: shouldStop) }
        do {
            let bytes = try FileBytes.load(path, limit: Self.largestMap)
            return try Self.read(map: bytes, path: path)
        } catch let error as SymbolFileError {
            throw error
        } catch {
            throw SymbolFileError("reading it failed: \(error)")
        }
    }

    private static func read(map bytes: [UInt8], path: String) throws(SymbolFileError) -> SymbolFile {
        if let file = NASMListing.read(bytes, path: path) { return file }
        return try SymbolMap.read(bytes)
    }

    /// What a file with these bytes says, read in this process.
    package static func read(_ bytes: [UInt8], path: String) throws(SymbolFileError) -> SymbolFile {
        guard bytes.starts(with: magic) else { return try read(map: bytes, path: path) }
        return try ELFReader.read(bytes)
    }

    package func read(
        elf path: String, shouldStop: () -> Bool = { false }
    ) throws(SymbolFileError) -> SymbolFile {
        guard let program else { return try ELFReader.read(path: path) }
        var sockets: (Int32, Int32) = (-1, -1)
        let paired = withUnsafeMutableBytes(of: &sockets) { pair in
            // SAFETY: two adjacent Int32 are what socketpair fills.
            clinux_socket_pair(pair.bindMemory(to: Int32.self).baseAddress)
        }
        guard paired >= 0 else { throw Self.failure("making a socket pair", paired) }
        defer { close(sockets.0) }
        let arguments = [program, Self.argument, path]
        let copies = arguments.map { (argument: String) in strdup(argument) }
        defer { for copy in copies { free(copy) } }
        // SAFETY: the array ends with nil and outlives the call; the child gets copies.
        let child = clinux_spawn_detached(
            program, copies.map { $0.map { UnsafePointer($0) } } + [nil], sockets.1, -1)
        close(sockets.1)
        guard child >= 0 else { throw Self.failure("starting the reader", child) }
        var isStopped = false
        let bytes = receive(sockets.0) {
            isStopped = shouldStop()
            return isStopped
        }
        // It has ended, or has to.
        if bytes == nil { kill(child, SIGKILL) }
        let status = clinux_reap(child)
        guard !isStopped else { throw SymbolFileError("interrupted") }
        guard let bytes else {
            throw SymbolFileError("reading it was given up after \(timeLimit) seconds")
        }
        return try Self.answer(bytes, status: status)
    }

    /// All that the reader sends; nil if it does not come to an end.
    private func receive(_ socket: Int32, _ shouldStop: () -> Bool) -> [UInt8]? {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: Self.chunk)
        let deadline = ContinuousClock.now + .seconds(Int(timeLimit))
        while bytes.count < Self.largestAnswer {
            let left = deadline - .now
            guard left > .zero else { return nil }
            var waiting = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
            // Short, so that the user is heard; a signal ends it early.
            let ready = poll(&waiting, 1, 50)
            if shouldStop() { return nil }
            if ready == 0 || ready < 0 && errno == EINTR { continue }
            guard ready > 0 else { return nil }
            let count = clinux_receive(socket, &buffer, buffer.count, 1)
            guard count > 0 else { return bytes }
            bytes += buffer[..<count]
        }
        return nil
    }

    /// - Parameter status: of waitpid(2).
    package static func answer(_ bytes: [UInt8], status: Int32) throws(SymbolFileError) -> SymbolFile {
        switch bytes.first.flatMap(Outcome.init(rawValue:)) {
        case .file where status == 0:
            if let file = SymbolFile(encoded: Array(bytes.dropFirst())) { return file }
        case .error where status == 0:
            let parts = String(decoding: bytes.dropFirst(), as: UTF8.self)
                .split(separator: "\0", omittingEmptySubsequences: false).map(String.init)
            throw SymbolFileError(parts[0], remedy: parts.count > 1 ? parts[1] : nil)
        default: break
        }
        let signal = status & 0x7F
        let how =
            signal == SIGXCPU || signal == SIGKILL
            ? "took too long"
            : signal != 0 ? "crashed with signal \(signal)" : "ended with status \(status >> 8)"
        throw SymbolFileError(
            "it is broken: the process that read it \(how)",
            remedy: "the session goes on; `nm FILE` may still give names, and what it prints can be loaded")
    }

    private static func failure(_ act: String, _ result: Int32) -> SymbolFileError {
        // SAFETY: strerror returns a terminated string, which is copied at once.
        SymbolFileError("\(act) failed: \(String(cString: strerror(-result)))")
    }

    // MARK: the reader's side

    /// Reads the file, and sends it through descriptor 3. Does not return.
    public static func main(path: String) -> Never {
        limit(RLIMIT_CORE, 0)
        limit(RLIMIT_CPU, 60)
        // The thread sanitizer keeps its shadow of memory in more address space than that.
        #if !SANITIZE_THREAD
            limit(RLIMIT_AS, 16 << 30)
        #endif
        // Separate files of DWARF are looked for on this host alone.
        unsetenv("DEBUGINFOD_URLS")
        do throws(SymbolFileError) {
            send([Outcome.file.rawValue] + (try ELFReader.read(path: path)).encoded)
        } catch {
            let remedy = error.remedy.map { "\0" + $0 } ?? ""
            send([Outcome.error.rawValue] + Array((error.message + remedy).utf8))
        }
        exit(0)
    }

    private static func limit(_ resource: __rlimit_resource, _ value: rlim_t) {
        var limit = rlimit(rlim_cur: value, rlim_max: value)
        // SAFETY: it reads one rlimit.
        setrlimit(__rlimit_resource_t(resource.rawValue), &limit)
    }

    private static func send(_ bytes: [UInt8]) {
        var place = 0
        while place < bytes.count {
            let part = bytes[place..<min(place + chunk, bytes.count)]
            let sent = part.withUnsafeBytes { clinux_send(3, $0.baseAddress, $0.count) }
            guard sent > 0 else { exit(1) }
            place += sent
        }
    }
}
