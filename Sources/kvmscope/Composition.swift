import Commands
import DebugTarget
import Debugger
import Examples
import Glibc
import KVMCore
import Machine

/// A failure to start: one line for people, and the status to end with.
struct StartError: Error, CustomStringConvertible {
    var description: String
}

/// A guest that is built in.
struct ExampleGuest {
    var name: String
    var summary: String
    var bytes: [UInt8]
    var loadAddress: UInt64
    var vcpus: Int

    /// All of them, the default one first.
    static var all: [ExampleGuest] {
        (0..<examples_count()).compactMap { index in
            // SAFETY: examples_at() gives nil or a record that lives as long as the process, as do its terminated
            // strings and its `size` bytes.
            guard let guest = examples_at(index)?.pointee else { return nil }
            return ExampleGuest(
                name: String(cString: guest.name), summary: String(cString: guest.summary),
                bytes: Array(UnsafeBufferPointer(start: guest.bytes, count: guest.size)),
                loadAddress: guest.load_address, vcpus: Int(guest.vcpus))
        }
    }
}

extension Options {
    /// The machine that the options describe.
    func machine() throws -> OwnedMachine {
        var configuration = MachineConfiguration()
        configuration.ramSize = memory.value
        configuration.vcpus = vcpus ?? 1
        configuration.clockOrigin = Int64(time(nil))
        configuration.hasBIOS = hasBIOS ?? (interruptController(vcpus: configuration.vcpus) != .none)
        configuration.hasBIOSForDrivesAlone = hasBIOS == nil
        configuration.isA20On = a20 == .on
        if image == nil, example == nil, hasBIOS == true {
            configuration.name = disk.first ?? floppy.first ?? cdrom.first ?? "no drive"
        } else if let image {
            configuration.name = image
            configuration.source = ImageRequest(
                path: image, kind: kind, address: flat?.value, entry: entry?.address, mode: entry?.mode,
                commandLine: append, initrd: initrd)
        } else {
            let guest = try exampleGuest()
            configuration.name = guest.name
            configuration.vcpus = vcpus ?? guest.vcpus
            configuration.image = try GuestImage(
                name: guest.name, bytes: guest.bytes, at: guest.loadAddress)
        }
        configuration.drives += floppy.map { .init(.floppy, path: $0) }
        configuration.drives += disk.map { .init(.disk, path: $0) }
        configuration.drives += cdrom.map { .init(.cdrom, path: $0) }
        configuration.interruptController = interruptController(vcpus: configuration.vcpus)
        return try OwnedMachine(configuration)
    }

    private var hasDrives: Bool { !disk.isEmpty || !floppy.isEmpty || !cdrom.isEmpty }

    /// Nil where the image decides: a disk has one, a kernel has not.
    private var hasBIOS: Bool? {
        switch bios {
        case .none?: false
        case .services?: true
        case nil: hasDrives ? true : image == nil ? false : nil
        }
    }

    private func interruptController(vcpus: Int) -> MachineConfiguration.InterruptController {
        switch irqchip {
        case .none?: .none
        case .user?: .user
        case .kernel?: .kernel
        case nil:
            image == nil && bios != .services && !hasDrives ? .none : vcpus == 1 ? .user : .kernel
        }
    }

    private func exampleGuest() throws(StartError) -> ExampleGuest {
        let all = ExampleGuest.all
        guard let example else {
            guard let first = all.first else { throw StartError(description: "no guest is built in") }
            return first
        }
        guard let found = all.first(where: { $0.name == example }) else {
            let names = all.map(\.name).joined(separator: ", ")
            throw StartError(description: "there is no example `\(example)`; there are: \(names)")
        }
        return found
    }
}
