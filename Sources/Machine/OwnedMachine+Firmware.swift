public import DebugTarget
import KVMCore
import Locking

extension OwnedMachine: FirmwareProviding {
    public var firmware: FirmwareLog? { parts.bios?.log }
}

extension OwnedMachine: DiskProviding {
    public var drives: [DriveState] { parts.bios?.hardware.drives.map(\.state) ?? [] }

    public func saveDrive(_ number: UInt8, to path: String) throws {
        guard let drive = parts.bios?.drive(number) else {
            throw MachineError(.configuration, "there is no drive \(String(number, radix: 16))h")
        }
        try drive.image.save(to: path)
    }
}

extension OwnedMachine: ScreenProviding {
    public var textScreen: ScreenContents? {
        guard let bios = parts.bios else { return nil }
        return ScreenContents(reading: memory, bios.hardware.screen)
    }
}

extension OwnedMachine: KeyTyping {
    public var hasKeyboard: Bool { parts.bios != nil }
    public var keyNames: [String] { KeyStrokes.names }

    public func type(_ keys: [TypedKey]) -> KeyTypingFailure? {
        guard let devices = parts.devices, parts.bios != nil else { return .noKeyboard }
        var codes: [UInt8] = []
        for (place, key) in keys.enumerated() {
            let found: [UInt8]? =
                switch key {
                case .byte(let byte): KeyStrokes.codes(for: byte)
                case .named(let name): KeyStrokes.codes(named: name)
                }
            guard let found else { return .noKey(place: place) }
            codes += found
        }
        guard devices.keyboard.type(codes) else { return .full }
        kickBootProcessor()
        return nil
    }
}

extension ScreenContents {
    /// The screen as the adapter shows the guest's memory; held within bounds whatever the guest has written to the data
    /// area. Nil where that memory is missing.
    init?(reading memory: any PhysicalMemory, _ adapter: TextAdapter) {
        if let graphics = adapter.graphics {
            self.init(graphics)
            return
        }
        let width = Int(memory.word(BIOSData.columns, size: 2) ?? 80)
        let columns = (1...132).contains(width) ? width : 80
        let rows = min(Int(memory.word(BIOSData.lastRow, size: 1) ?? 24) + 1, 60)
        var bytes = [UInt8](repeating: 0, count: 0x8000)
        let isRead = bytes.withUnsafeMutableBytes { buffer in
            (try? memory.read(BIOSData.screen, into: buffer)) != nil
        }
        guard isRead else { return nil }
        let start = adapter.start * 2
        let cells = (0..<rows * columns).map { place in
            let at = (start + place * 2) & 0x7FFF
            return Cell(character: bytes[at], attribute: bytes[(at + 1) & 0x7FFF])
        }
        let place = adapter.cursor - adapter.start
        let isInside = adapter.isCursorShown && (0..<rows * columns).contains(place)
        self.init(
            columns: columns, rows: rows, cells: cells, cursor: isInside ? place : nil)
    }
}
