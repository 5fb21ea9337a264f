import DebugTarget
import Glibc
public import Symbols

/// Which version of a file: it was written since where these differ.
struct FileVersion: Sendable, Hashable {
    private var inode: UInt64
    /// In bytes.
    var size: Int64
    private var seconds: Int
    private var nanoseconds: Int

    /// Nil where there is no regular file.
    init?(_ path: String) {
        var status = stat()
        // SAFETY: the call writes one `stat`, which it is given.
        guard unsafe stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        inode = UInt64(status.st_ino)
        size = Int64(status.st_size)
        seconds = status.st_mtim.tv_sec
        nanoseconds = status.st_mtim.tv_nsec
    }
}

/// The symbols of the program that the guest was started from.
extension Debugger {
    /// The largest file whose symbols are loaded unasked, in bytes: those of a whole kernel take seconds.
    public static let largestOwnSymbols: Int64 = 32 << 20

    /// The image's path, where it is an ELF file: kernels in other wrappings have no symbols.
    private var programPath: String? {
        guard let image = (target as? any ImageProviding)?.loadedImage, let kind = image.kind,
            ["elf", "vmlinux", "multiboot", "multiboot2"].contains(kind)
        else { return nil }
        return image.name
    }

    /// Loads them, if the image is an ELF file that is not too large and has some.
    ///
    /// - Returns: nil where there are none to load.
    @discardableResult
    public func loadImageSymbols() -> SymbolSource? {
        guard let path = programPath, let version = FileVersion(path), version.size <= Self.largestOwnSymbols
        else { return nil }
        imageVersion = version
        // A program without any is no fault of its user's.
        guard let file = try? symbolReader.read(path), !file.symbols.isEmpty || !file.rows.isEmpty else {
            return nil
        }
        return try? load(path, .asLinked) { () throws(SymbolFileError) in file }
    }

    /// After a restart: the symbols of a program that was built anew are read again, where they had been loaded.
    func refreshImageSymbols() {
        guard let path = programPath, let version = FileVersion(path), version != imageVersion else { return }
        imageVersion = version
        guard let old = symbols.files.first(where: { $0.path == path }) else { return }
        let distance = old.shift
        _ = try? loadSymbols(path, distance == 0 ? .asLinked : .moved(by: distance))
    }
}
