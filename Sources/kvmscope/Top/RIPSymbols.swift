import Monitor
import Symbols

/// The guest's symbols for `kvmscope top`: names of the RIPs that a reason comes from.
struct RIPSymbols {
    /// As `--symbols` takes it.
    static func load(_ paths: [String]) throws(MonitorError) -> SymbolTable {
        var table = SymbolTable()
        for path in paths {
            do throws(SymbolFileError) {
                try table.load(path, with: .current)
            } catch {
                throw MonitorError(
                    "the symbols of \(path) were not loaded: \(error.message)", remedy: error.remedy)
            }
        }
        return table
    }
}

extension HostReport.Symbolizer {
    /// Names by a table; nil where it is empty.
    init?(_ table: SymbolTable) {
        guard !table.isEmpty else { return nil }
        self.init { address in table.place(at: address)?.description }
    }
}
