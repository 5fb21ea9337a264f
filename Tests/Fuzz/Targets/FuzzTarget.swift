import Commands
import Debugger
import Glibc
import Machine
import TargetConformance

/// What reads bytes that nobody vouches for. Each is fed by libFuzzer, and with the cases that it found by a test.
public enum FuzzTarget: String, Sendable, CaseIterable {
    /// The expression parser, and the evaluation of what it took.
    case expression
    /// The command parser, completion, and the expressions in a command's arguments.
    case command
    /// ELF and DWARF, through elfutils.
    case elf
    /// Maps of symbols.
    case map
    /// Boot sectors, disk images and flat images.
    case image

    /// Reads one input. It may refuse it, and nothing else.
    public func run(_ bytes: [UInt8]) {
        let bench = Bench.current
        switch self {
        case .expression: bench.evaluate(String(decoding: bytes, as: UTF8.self))
        case .command: bench.command(String(decoding: bytes, as: UTF8.self))
        case .elf: bench.symbols(bytes, magic: [0x7F, 0x45, 0x4C, 0x46])
        case .map: bench.symbols(bytes, magic: [])
        case .image: bench.image(bytes)
        }
    }

    /// The one that the command line names: `--target=elf`.
    static let chosen: FuzzTarget = {
        let option = "--target="
        let names = CommandLine.arguments.filter { $0.hasPrefix(option) }.map { $0.dropFirst(option.count) }
        if let name = names.last, let target = FuzzTarget(rawValue: String(name)) { return target }
        let known = allCases.map(\.rawValue).joined(separator: ", ")
        fatalError("--target= one of: \(known)")
    }()
}

@_cdecl("kvmscope_fuzz")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    // SAFETY: libFuzzer lends `count` bytes for this call; they are copied.
    FuzzTarget.chosen.run(Array(UnsafeBufferPointer(start: start, count: count)))
    return 0
}

/// A debugger on a guest without KVM, used for many inputs; what they leave in it does not grow for ever.
final class Bench {
    // SAFETY: libFuzzer calls from one thread, and so does the test.
    nonisolated(unsafe) private static var shared: (bench: Bench, uses: Int)?

    static var current: Bench {
        if let (bench, uses) = shared, uses < 4096 {
            shared = (bench, uses + 1)
            return bench
        }
        let bench = Bench()
        shared = (bench, 0)
        return bench
    }

    private let debugger: Debugger
    private let session: Session
    /// A file without a name, in memory.
    private let file: Int32
    private var path: String { "/proc/self/fd/\(file)" }

    private init() {
        do {
            debugger = try Debugger(target: FakeTarget())
        } catch {
            fatalError("\(error)")
        }
        session = Session(debugger: debugger)
        var name = Array("/dev/shm/kvmscope-fuzz-XXXXXX".utf8CString)
        // SAFETY: the array is terminated, and mkstemp writes within it.
        file = mkstemp(&name)
        guard file >= 0 else { fatalError("no file in memory: errno \(errno)") }
        // It is reached by its descriptor, and gone with it.
        unlink(name)
        load(Array("7c00 T start\n7c40 t loop\n7e00 D ip\n200 a SECTOR\n".utf8))
        _ = try? debugger.loadSymbols(path)
    }

    deinit { close(file) }

    private func load(_ bytes: [UInt8]) {
        ftruncate(file, 0)
        _ = bytes.withUnsafeBytes { pwrite(file, $0.baseAddress, $0.count, 0) }
    }

    func evaluate(_ text: String) {
        let snapshot = debugger.selected
        do {
            let expression = try debugger.expression(text)
            let value = try expression.evaluate(
                snapshot.registers, snapshot.special, memory: debugger.target.memory)
            _ = debugger.remember(value)
            // These are read once more: as FILE:LINE, and as the value of an expression.
            if text.utf8.contains(UInt8(ascii: ":")) || text.utf8.first == UInt8(ascii: "*") {
                _ = try debugger.location(text)
            }
        } catch {
            // An error stands within the text, or right behind it.
            if let column = error.column {
                precondition(column >= 0 && column <= text.count, "column \(column) of \(text.count)")
            }
        }
    }

    func command(_ line: String) {
        do {
            for argument in try session.arguments(of: line) { evaluate(argument) }
        } catch {
            _ = error.lines(width: 80)
        }
        // Completion looks into directories where a path stands.
        guard !line.contains("/"), !line.contains("~") else { return }
        let found = session.complete(line, cursor: line.utf8.count / 2)
        precondition(found.start >= 0 && found.start <= line.utf8.count)
    }

    func symbols(_ bytes: [UInt8], magic: [UInt8]) {
        var image = bytes
        for (place, byte) in magic.enumerated() where place < image.count { image[place] = byte }
        load(image)
        debugger.clearSymbols()
        do {
            let source = try debugger.loadSymbols(path, .moved(by: 0x1000))
            for address in [0, source.start, source.end &- 1, UInt64.max] {
                _ = debugger.symbols.place(at: address)
                if let line = debugger.symbols.line(at: address) {
                    _ = debugger.symbols.code(ofLine: line.line, path: line.path)
                }
            }
        } catch {
            precondition(!error.message.isEmpty)
        }
    }

    func image(_ bytes: [UInt8]) {
        load(bytes)
        _ = try? GuestImage.bootSector(path: path)
        let address = bytes.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        _ = try? GuestImage.flat(path: path, at: address, ramSize: 1 << 20)
        _ = try? GuestImage(name: "", bytes: bytes, at: address, entry: address)
    }
}
