/// Rates over time, in a line of text.
enum Sparkline {
    /// Eight heights of a block a sample, the newest on the right; `-` where nothing is known.
    static func text(_ rates: [Double?], width: Int) -> String {
        let peak = rates.compactMap { $0 }.max() ?? 0
        var text = String.UnicodeScalarView()
        for rate in rates.suffix(width) {
            guard let rate else {
                text.append("-")
                continue
            }
            let level = peak > 0 ? Int((rate / peak * 8).rounded(.up)) : 0
            text.append(level <= 0 ? " " : Unicode.Scalar(UInt32(0x2580 + min(8, level))) ?? " ")
        }
        return String(text)
    }
}
