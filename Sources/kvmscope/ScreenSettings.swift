import Commands
import Glibc
import SystemPackage

/// What the screen is like, between sessions: a few lines in the user's state folder.
struct ScreenSettings: Equatable {
    var layout = ScreenLayout.boot
    var theme = ScreenTheme.auto
    var usesMouse = true

    private static let longest = 4096

    /// Words that are not known are passed over: a later version may have written them.
    init(_ text: String = "") {
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ").map(String.init)
            guard words.count == 2 else { continue }
            switch words[0] {
            case "layout": layout = ScreenLayout(rawValue: words[1]) ?? layout
            case "theme": theme = ScreenTheme(rawValue: words[1]) ?? theme
            case "mouse": usesMouse = words[1] != "off"
            default: break
            }
        }
    }

    var text: String {
        "layout \(layout.rawValue)\ntheme \(theme.rawValue)\nmouse \(usesMouse ? "on" : "off")\n"
    }

    private static var path: String? {
        personalFolder("XDG_STATE_HOME", ".local/state").map { $0 + "/screen" }
    }

    /// As the session before left them; as at first where they cannot be read.
    static func kept() -> ScreenSettings {
        guard let path,
            let file = try? FileDescriptor.open(
                FilePath(path), .readOnly, options: [.closeOnExec, .nonBlocking]),
            let bytes = try? file.closeAfter({
                try [UInt8](unsafeUninitializedCapacity: longest) { buffer, count in
                    // SAFETY: the buffer holds so many bytes, and read() reports how many of them it filled.
                    count = try file.read(into: UnsafeMutableRawBufferPointer(buffer))
                }
            })
        else { return ScreenSettings() }
        return ScreenSettings(String(decoding: bytes, as: UTF8.self))
    }

    /// - Returns: why they are not kept.
    func keep() -> String? {
        guard let path = Self.path else {
            return "the screen's settings are not kept: there is no home directory"
        }
        do {
            makeFolders(FilePath(path).removingLastComponent())
            let file = try FileDescriptor.open(
                FilePath(path), .writeOnly, options: [.create, .truncate, .closeOnExec, .nonBlocking],
                permissions: .ownerReadWrite)
            _ = try file.closeAfter { try file.writeAll(text.utf8) }
            return nil
        } catch {
            return "the screen's settings are not kept: \(path): \(error)"
        }
    }

    private func makeFolders(_ folder: FilePath) {
        guard !folder.isEmpty, mkdir(folder.string, 0o700) != 0, errno == ENOENT else { return }
        let parent = folder.removingLastComponent()
        guard parent != folder else { return }
        makeFolders(parent)
        mkdir(folder.string, 0o700)
    }
}
