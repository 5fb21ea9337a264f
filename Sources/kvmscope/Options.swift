public import ArgumentParser
import Glibc
public import Machine

/// The guest's file. It stands apart from ``Options``: see ``CompletionTree``.
struct ImageArgument: ParsableArguments {
    @Argument(
        help: "The guest's file; what it is (a boot sector, a disk, a kernel) is found from its bytes.",
        completion: .file())
    var image: String?
}

/// The options of a guest that kvmscope runs itself.
struct Options: ParsableArguments {
    /// Not parsed here: ``Program`` puts it in from ``ImageArgument``.
    var image: String? = nil

    @Option(help: ArgumentHelp("What IMAGE is, whatever its bytes say.", valueName: "kind"))
    var kind: ImageKind?

    @Option(help: ArgumentHelp("Load IMAGE at this physical address, as a flat binary.", valueName: "addr"))
    var flat: GuestAddress?

    @Option(
        help: ArgumentHelp(
            "Start a flat binary at this address; a kernel or an ELF program in this mode: real, prot or long.",
            valueName: "addr|mode"))
    var entry: EntryOption?

    @Option(help: ArgumentHelp("The command line of a kernel.", valueName: "text"))
    var append: String?

    @Option(
        help: ArgumentHelp("A kernel's initial RAM disk; Multiboot's first module.", valueName: "file"),
        completion: .file())
    var initrd: String?

    @Option(
        help: ArgumentHelp(
            "Run a built-in guest; the first of --examples if there is no IMAGE.", valueName: "name"),
        completion: .list(ExampleGuest.all.map(\.name)))
    var example: String?

    @Flag(help: "List the built-in guests.")
    var examples = false

    @Option(
        name: [.customShort("m"), .long],
        help: ArgumentHelp("The size of RAM in bytes, or with the suffix K, M or G.", valueName: "size"))
    var memory = ByteCount(64 << 20)

    @Option(help: ArgumentHelp("How many vCPUs; what the built-in guest needs, or 1.", valueName: "n"))
    var vcpus: Int?

    @Option(
        help: """
            Where the interrupt controllers are: user (i8259, i8254, RTC and i8042 in the guest's own time; the default of an \
            IMAGE with one vCPU), kernel (KVM_CREATE_IRQCHIP, with APICs; the default with several), or none (the default of \
            built-in guests).
            """)
    var irqchip: InterruptControllers?

    @Option(
        help: """
            The BIOS: services (INT 10h to 1Ah done by kvmscope; the default of a disk image with one vCPU), or none.
            """)
    var bios: BIOSChoice?

    @Option(
        help: "Line A20 of the address bus at first: on, or off, where 1 MiB wraps to 0 until it is switched."
    )
    var a20 = SwitchState.on

    @Option(
        help: ArgumentHelp("A further hard disk: a raw image, never written.", valueName: "file"),
        completion: .file())
    var disk: [String] = []

    @Option(
        help: ArgumentHelp("A further floppy: a raw image, never written.", valueName: "file"),
        completion: .file())
    var floppy: [String] = []

    @Option(help: ArgumentHelp("A further CD: an ISO file.", valueName: "file"), completion: .file())
    var cdrom: [String] = []

    @OptionGroup var frontEnd: FrontEndOptions

    /// Refuses options that do not go together; called once ``image`` is known.
    func check() throws(ValidationError) {
        if image != nil, example != nil {
            throw ValidationError("give IMAGE or --example, not both")
        }
        if image == nil, flat != nil { throw ValidationError("--flat says where IMAGE goes; there is none") }
        if image == nil, kind != nil { throw ValidationError("--kind says what IMAGE is; there is none") }
        if flat != nil, let kind, kind != .flat {
            throw ValidationError("--flat loads a flat binary, and --kind says \(kind.rawValue)")
        }
        if flat == nil, kind != .flat, entry?.address != nil {
            throw ValidationError(
                "an address as --entry is for --flat images; kernels take real, prot or long")
        }
        if image == nil, entry != nil || append != nil || initrd != nil {
            throw ValidationError("--entry, --append and --initrd are for an IMAGE; there is none")
        }
        if let vcpus, !(1...4096).contains(vcpus) {
            throw ValidationError("--vcpus is from 1 to 4096, not \(vcpus)")
        }
        guard memory.value > 0, memory.value % 4096 == 0 else {
            throw ValidationError("--memory is a multiple of 4096 bytes, not \(memory.value)")
        }
    }
}

extension ImageKind: ExpressibleByArgument {}

/// `--entry`: an address, or a mode.
enum EntryOption: ExpressibleByArgument, Equatable {
    case at(UInt64)
    case mode(EntryMode)

    init?(argument: String) {
        if let mode = EntryMode(rawValue: argument) {
            self = .mode(mode)
        } else if let address = GuestAddress(argument: argument) {
            self = .at(address.value)
        } else {
            return nil
        }
    }

    var address: UInt64? { if case .at(let address) = self { address } else { nil } }
    var mode: EntryMode? { if case .mode(let mode) = self { mode } else { nil } }
}

/// Where the guest's PIC, IOAPIC and local APICs are.
enum InterruptControllers: String, ExpressibleByArgument, CaseIterable {
    case none, user, kernel
}

/// As a user types it.
enum SwitchState: String, ExpressibleByArgument, CaseIterable {
    case on, off
}

/// Who serves the guest's BIOS calls.
enum BIOSChoice: String, ExpressibleByArgument, CaseIterable {
    case none, services
}

/// A physical address: decimal, or hexadecimal as `0x7c00` or `7c00h`.
struct GuestAddress: ExpressibleByArgument, Equatable {
    var value: UInt64

    init?(argument: String) {
        let text = argument.lowercased()
        let value: UInt64?
        if text.hasPrefix("0x") {
            value = UInt64(text.dropFirst(2), radix: 16)
        } else if text.hasSuffix("h") {
            value = UInt64(text.dropLast(), radix: 16)
        } else {
            value = UInt64(text)
        }
        guard let value, !text.contains("+") else { return nil }
        self.value = value
    }
}

/// A size in bytes, typed with K, M or G for 2^10, 2^20 or 2^30 of them.
struct ByteCount: ExpressibleByArgument, Equatable, CustomStringConvertible {
    var value: UInt64

    init(_ value: UInt64) { self.value = value }

    init?(argument: String) {
        var digits = argument.uppercased()[...]
        var shift: UInt64 = 0
        if let suffix = digits.last, let found = ["K": 10, "M": 20, "G": 30][String(suffix)] as UInt64? {
            shift = found
            digits = digits.dropLast()
        }
        guard let number = UInt64(digits), !digits.hasPrefix("+") else { return nil }
        let (value, overflow) = number.multipliedReportingOverflow(by: 1 << shift)
        guard !overflow else { return nil }
        self.value = value
    }

    var description: String {
        for (shift, suffix) in [(UInt64(30), "G"), (20, "M"), (10, "K")]
        where value >= 1 << shift && value & ((1 << shift) - 1) == 0 {
            return "\(value >> shift)\(suffix)"
        }
        return "\(value)"
    }

    var defaultValueDescription: String { description }
}
