import DebugTarget

extension Drive {
    /// Opens the images, and numbers the drives as a BIOS does.
    ///
    /// - Throws: `MachineError` for an image that cannot be opened, and for more drives than there are numbers.
    package static func opened(_ configured: [MachineConfiguration.Drive]) throws(MachineError) -> [Drive] {
        var next: [DriveState.Kind: UInt8] = [.floppy: 0x00, .disk: 0x80, .cdrom: 0xE0]
        var drives: [Drive] = []
        for drive in configured {
            let number = next[drive.kind] ?? 0
            guard drive.kind != .floppy || number < 2, drive.kind != .disk || number < 0x88 else {
                throw MachineError(
                    .configuration, "there are more drives than a BIOS has numbers for",
                    remedy: "two floppies and eight disks are the most")
            }
            next[drive.kind] = number + 1
            drives.append(Drive(drive.kind, number: number, image: try DiskImage(path: drive.path)))
        }
        try emulate(&drives)
        return drives
    }

    /// A CD that stands for a floppy or a disk and would be booted first gives a drive, which is the first of its kind.
    private static func emulate(_ drives: inout [Drive]) throws(MachineError) {
        for (place, drive) in drives.enumerated() {
            guard let start = BootCatalog(drive), let window = start.window(of: drive), !window.isEmpty else {
                // A drive that boots comes before it.
                if BIOS.isBootable(drive) { return }
                continue
            }
            let kind = start.medium == 4 ? DriveState.Kind.disk : .floppy
            let image = try DiskImage(path: drive.image.path, window: window)
            let first: UInt8 = kind == .disk ? 0x80 : 0
            let others = drives.map { other in
                other.kind == kind
                    ? Drive(kind, number: other.number + 1, image: other.image) : other
            }
            let made = Drive(
                kind, number: first, image: image, geometry: DriveGeometry(medium: start.medium),
                emulation: start)
            drives = Array(others[..<place]) + [made] + Array(others[place...])
            return
        }
    }
}
