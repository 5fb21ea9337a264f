/// What reads bytes that nobody vouches for. Each is fed by libFuzzer, and with the cases that it found by a test.
public enum FuzzTarget: String, Sendable, CaseIterable {
    /// The expression parser, and the evaluation of what it took.
    case expression
    /// The command parser, completion, and the expressions in a command's arguments.
    case command
    /// Commands, done: one a line, with what they yield as text and as JSON.
    case session
    /// Scripts: the same, seeded with blocks, loops, commands of the user's and formats. What they yield is read
    /// in one of eight, and what takes long is ended soon: that is what `session` is for.
    case script
    /// ELF and DWARF, through elfutils.
    case elf
    /// Maps of symbols.
    case map
    /// Boot sectors, disk images and flat images.
    case image
    /// Loaders: the image after a byte that chooses the kind, the mode and the memory.
    case loader
    /// Calls of BIOS services, 48 bytes each: registers, and what stands where DS:SI points.
    case bios
    /// CDs by their boot catalogs, and calls of what was booted from one; see `Firmware.disc`.
    case disc
    /// `format` files of tracepoints, and records read by them: a record stands after a byte of zero.
    case tracepoint
    /// Pages of trace buffers: `header_page` and `stats` as text, and after a byte of zero the page.
    case tracepage
    /// Samples of the monitor, as its history keeps them.
    case sample
    /// Recordings: a byte of 1 to 5 makes the rest the content of a frame of that kind; all else is a file.
    case recording
    /// GDB's remote protocol: the bytes of a connection.
    case rsp
    /// The Debug Adapter Protocol: a connection's bytes, or after a byte of zero a message a line.
    case dap

    /// Reads one input. It may refuse it, and nothing else.
    public func run(_ bytes: [UInt8]) {
        switch self {
        case .tracepoint: return Watching.tracepoint(bytes)
        case .tracepage: return Watching.tracepage(bytes)
        case .sample: return Watching.sample(bytes)
        case .recording: return Watching.recording(bytes)
        case .bios: return Firmware.calls(bytes)
        case .disc: return Firmware.disc(bytes)
        default: break
        }
        // What is done to a guest stays in it: of such uses one bench takes fewer.
        let bench = Bench.current(
            uses: self == .session || self == .script || self == .rsp || self == .dap ? 256 : 4096)
        switch self {
        case .expression: bench.evaluate(String(decoding: bytes, as: UTF8.self))
        case .command: bench.command(String(decoding: bytes, as: UTF8.self))
        case .session: bench.session(String(decoding: bytes, as: UTF8.self))
        case .script:
            bench.session(
                String(decoding: bytes, as: UTF8.self), readsOutput: bytes.reduce(0, &+) % 8 == 0,
                limit: .milliseconds(4))
        case .elf: bench.symbols(bytes, magic: [0x7F, 0x45, 0x4C, 0x46])
        case .map: bench.symbols(bytes, magic: [])
        case .image: bench.image(bytes)
        case .rsp: bench.remote(bytes)
        case .loader: bench.loader(bytes)
        case .dap: bench.adapter(bytes)
        case .bios, .disc, .tracepoint, .tracepage, .sample, .recording: break
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
