import Glibc

/// A path that starts with `~/`, with the home directory in its place.
func expandingHome(_ path: String) -> String {
    guard path == "~" || path.hasPrefix("~/"), let home = environment("HOME") else { return path }
    return home + path.dropFirst()
}

/// A variable of the environment; nil if it is not set.
func environment(_ name: String) -> String? {
    // SAFETY: getenv returns nil or a terminated string, which is copied at once; no thread of ours changes
    // the environment.
    guard let value = getenv(name) else { return nil }
    return String(cString: value)
}

/// The names in a directory; none if it cannot be read.
func directoryEntries(_ path: String) -> [(name: String, isDirectory: Bool)] {
    guard let directory = opendir(path) else { return [] }
    defer { closedir(directory) }
    var result: [(name: String, isDirectory: Bool)] = []
    // SAFETY: readdir's record is valid until the next call on this directory, and is copied before it.
    while let entry = readdir(directory) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) { field in
            field.withMemoryRebound(
                to: CChar.self, capacity: MemoryLayout.size(ofValue: entry.pointee.d_name)
            ) {
                // SAFETY: d_name ends in a zero within its 256 bytes (readdir(3)).
                String(cString: $0)
            }
        }
        guard name != ".", name != ".." else { continue }
        var isDirectory = entry.pointee.d_type == DT_DIR
        // A link, or a file system that does not say: ask.
        if entry.pointee.d_type == DT_LNK || entry.pointee.d_type == DT_UNKNOWN {
            var status = stat()
            isDirectory = stat("\(path)/\(name)", &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
        }
        result.append((name, isDirectory))
    }
    return result
}

/// A path that does not depend on the current folder.
package func absolutePath(_ path: String) -> String {
    guard !path.hasPrefix("/") else { return path }
    // SAFETY: getcwd allocates what it needs and gives nil or a terminated string, which is copied and freed.
    guard let folder = getcwd(nil, 0) else { return path }
    defer { free(folder) }
    return String(cString: folder) + "/" + path
}

/// A folder of the XDG base directory specification for this program; nil where there is no home.
///
/// - Parameters:
///   - variable: "XDG_CONFIG_HOME" or "XDG_STATE_HOME"; one that is not absolute is ignored, as the specification says.
///   - standard: its place in the home directory where the variable is not set.
package func personalFolder(_ variable: String, _ standard: String) -> String? {
    if let folder = environment(variable), folder.hasPrefix("/") { return folder + "/kvmscope" }
    guard let home = environment("HOME"), home.hasPrefix("/") else { return nil }
    return "\(home)/\(standard)/kvmscope"
}
