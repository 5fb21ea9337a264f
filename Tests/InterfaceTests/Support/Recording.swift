import Glibc
import Interface
import Testing

/// Compares a screen with the recorded one: its characters, then the attributes and the roles of its cells.
///
/// With KVMSCOPE_RECORD=1 in the environment the file is written, and the test fails all the same, so that no run
/// that records passes.
func expectRecorded(_ screen: Screen, _ name: String, sourceLocation: SourceLocation = #_sourceLocation) {
    let path =
        #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(2)
        .joined(separator: "/") + "/Recorded/\(name).txt"
    expectRecorded(text(of: screen), at: path, name, sourceLocation: sourceLocation)
}

/// Compares a text with a file, or writes it there with KVMSCOPE_RECORD=1, as for a screen.
func expectRecorded(
    _ seen: String, at path: String, _ name: String, sourceLocation: SourceLocation = #_sourceLocation
) {
    if unsafe getenv("KVMSCOPE_RECORD") != nil {
        write(seen, path)
        Issue.record("recorded \(name); run again without KVMSCOPE_RECORD", sourceLocation: sourceLocation)
        return
    }
    guard let recorded = read(path) else {
        Issue.record("no recording \(path)", sourceLocation: sourceLocation)
        return
    }
    guard seen != recorded else { return }
    let rows = seen.split(separator: "\n", omittingEmptySubsequences: false)
    let wanted = recorded.split(separator: "\n", omittingEmptySubsequences: false)
    var difference = ""
    for row in 0..<max(rows.count, wanted.count) {
        let new = row < rows.count ? rows[row] : "(none)"
        let old = row < wanted.count ? wanted[row] : "(none)"
        if new != old { difference += "\(row + 1)-\(old)\n\(row + 1)+\(new)\n" }
    }
    Issue.record("\(name) differs from its recording:\n\(difference)", sourceLocation: sourceLocation)
}

/// One letter a cell for the looks: `.` is plain.
func text(of screen: Screen) -> String {
    var text = ""
    for y in 0..<screen.size.height { text += screen.text(row: y) + "\n" }
    let letters = Array(".dbtncamspkewgP_o")
    func role(_ cell: Cell) -> Character { letters[Int(cell.look.role.rawValue)] }
    let grids: [(String, (Cell) -> Character)] = [
        ("-- attributes: 1 bold, 2 underline, 4 reverse, 8 dim, added", attribute), ("-- roles", role),
    ]
    for (title, letter) in grids {
        text += title + "\n"
        for y in 0..<screen.size.height {
            var row = String((0..<screen.size.width).map { letter(screen[$0, y]) })
            while row.last == "." { row.removeLast() }
            text += row + "\n"
        }
    }
    if let cursor = screen.cursor { text += "-- cursor \(cursor.x) \(cursor.y)\n" }
    return text
}

private func attribute(_ cell: Cell) -> Character {
    let value = cell.look.attributes.rawValue
    return value == 0 ? "." : Character(String(value, radix: 16))
}

private func read(_ path: String) -> String? {
    guard let file = unsafe fopen(path, "re") else { return nil }
    defer { unsafe fclose(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = unsafe fread(&buffer, 1, buffer.count, file)
        guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
        bytes += buffer.prefix(count)
    }
}

private func write(_ text: String, _ path: String) {
    guard let file = unsafe fopen(path, "we") else { return }
    unsafe fputs(text, file)
    unsafe fclose(file)
}
