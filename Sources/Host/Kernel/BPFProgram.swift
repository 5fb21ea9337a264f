import CLinux
import Glibc

/// A loaded BPF program; unloaded once.
package struct BPFProgram: ~Copyable, Sendable {
    package let descriptor: Int32

    /// One instruction. Source: Documentation/bpf/standardization/instruction-set.rst.
    package struct Instruction: Sendable, Hashable {
        package var code: UInt8
        package var destination: UInt8 = 0
        package var source: UInt8 = 0
        package var offset: Int16 = 0
        package var immediate: Int32 = 0

        package init(
            code: UInt8, destination: UInt8 = 0, source: UInt8 = 0, offset: Int16 = 0, immediate: Int32 = 0
        ) {
            self.code = code
            self.destination = destination
            self.source = source
            self.offset = offset
            self.immediate = immediate
        }

        /// `destination = source`.
        package static func copy(_ destination: UInt8, _ source: UInt8) -> Instruction {
            Instruction(code: 0xBF, destination: destination, source: source)
        }
        /// `destination = value`.
        package static func set(_ destination: UInt8, _ value: Int32) -> Instruction {
            Instruction(code: 0xB7, destination: destination, immediate: value)
        }
        package static func add(_ destination: UInt8, _ value: Int32) -> Instruction {
            Instruction(code: 0x07, destination: destination, immediate: value)
        }
        /// `destination = *(u64 *)(source + offset)`.
        static func load64(_ destination: UInt8, _ source: UInt8, _ offset: Int16) -> Instruction {
            Instruction(code: 0x79, destination: destination, source: source, offset: offset)
        }
        static func load32(_ destination: UInt8, _ source: UInt8, _ offset: Int16) -> Instruction {
            Instruction(code: 0x61, destination: destination, source: source, offset: offset)
        }
        /// `*(u64 *)(destination + offset) = source`.
        static func store64(_ destination: UInt8, _ offset: Int16, _ source: UInt8) -> Instruction {
            Instruction(code: 0x7B, destination: destination, source: source, offset: offset)
        }
        /// Skips `count` instructions unless `register` is zero.
        static func skipUnlessZero(_ register: UInt8, _ count: Int16) -> Instruction {
            Instruction(code: 0x55, destination: register, offset: count)
        }
        package static func call(_ helper: Int32) -> Instruction {
            Instruction(code: 0x85, immediate: helper)
        }
        package static let exit = Instruction(code: 0x95)
    }

    /// Helpers, by their numbers in <linux/bpf.h>.
    enum Helper {
        static let probeReadKernel: Int32 = 113
        static let sequenceWrite: Int32 = 127
    }

    /// The frame pointer.
    static let frame: UInt8 = 10

    package init(
        type: Int32, attach: Int32 = 0, target: UInt32 = 0, flags: UInt32 = 0, _ program: [Instruction]
    )
        throws(HostGuestError)
    {
        let raw = program.map {
            clinux_bpf_instruction(
                code: $0.code, registers: $0.destination | $0.source << 4, offset: $0.offset,
                immediate: $0.immediate)
        }
        // A program whose log has no room in what is given for it is refused: the log is asked for only where the program
        // is refused without.
        let result = clinux_bpf_load(type, attach, target, flags, raw, UInt32(raw.count), nil, 0)
        guard result >= 0 else {
            var log = [CChar](repeating: 0, count: 1 << 18)
            // SAFETY: the kernel copies the instructions and writes no more than the length given into the log.
            let again = clinux_bpf_load(
                type, attach, target, flags, raw, UInt32(raw.count), &log, UInt32(log.count))
            // Refused for what is over now, as memory.
            if again >= 0 {
                descriptor = again
                return
            }
            throw Self.error(
                -result,
                log: String(decoding: log.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self),
                Privileges(),
                lockdown: ProcessFiles.bytes("/sys/kernel/security/lockdown").flatMap {
                    Self.lockdown(String(decoding: $0, as: UTF8.self))
                })
        }
        descriptor = result
    }

    /// What a refusal to load means.
    ///
    /// - Parameters:
    ///   - privileges: this process'.
    ///   - lockdown: the kernel's mode, as ``lockdown(_:)`` has it.
    static func error(_ errno: Int32, log: String, _ privileges: Privileges, lockdown: String?)
        -> HostGuestError
    {
        if lockdown == "confidentiality" {
            return HostGuestError(
                .notPermitted,
                "the kernel is locked down (confidentiality): BPF programs may not read its memory",
                remedy: "start the host without `lockdown=confidentiality`")
        }
        if errno == ENOSYS {
            return HostGuestError(
                .unsupported, "this kernel has no BPF",
                remedy: "it takes one with CONFIG_BPF_SYSCALL and CONFIG_DEBUG_INFO_BTF")
        }
        let reason = String(cString: strerror(errno))
        if errno == EPERM || errno == EACCES && log.isEmpty {
            return HostGuestError(
                .notPermitted, "the kernel refuses BPF programs (\(reason))",
                remedy: privileges.missingForBPF.isEmpty
                    ? "nothing is missing here: look for a security module, a kernel lockdown, or a container's "
                        + "user namespace, in which CAP_BPF and CAP_PERFMON do not count"
                    : "they need CAP_BPF and CAP_PERFMON; "
                        + "\(privileges.missingForBPF.joined(separator: " and ")) missing: run kvmscope as root"
            )
        }
        let said = log.split(separator: "\n").suffix(3).joined(separator: "; ")
        return HostGuestError(
            .unsupported,
            "the kernel does not take the BPF program (\(reason))\(said.isEmpty ? "" : ": " + said)")
    }

    /// The mode in brackets: `none [integrity] confidentiality`. Source: kernel_lockdown(7).
    static func lockdown(_ text: String) -> String? {
        text.split(whereSeparator: \.isWhitespace).first { $0.hasPrefix("[") && $0.hasSuffix("]") }.map {
            String($0.dropFirst().dropLast())
        }
    }

    deinit { close(descriptor) }
}
