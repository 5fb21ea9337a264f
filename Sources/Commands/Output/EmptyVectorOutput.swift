import DebugTarget
import Debugger
import X86

extension EmptyVector {
    /// Nil where it is not known, or none.
    var vector: UInt8? {
        switch way {
        case .software(let vector), .exception(let vector): vector
        case .interrupt, .jump, .zeros: nil
        }
    }

    /// `INT 13h: the vector is 0000:0000; there is no BIOS here.`
    var text: String {
        let nobody = "the vector is 0000:0000; there is no BIOS here"
        let off = "`set vector-check off` lets it run on."
        return switch way {
        case .software(let vector):
            "INT \(Hex.digits(UInt64(vector), width: 2).uppercased())h: \(nobody). \(off)"
        case .exception(let vector):
            "\(ExceptionName.full(vector, inRealMode: true)) at \(from): \(nobody), and the guest came to 0000:0000. \(off)"
        case .interrupt:
            "An interrupt at \(from): its vector is 0000:0000; there is no BIOS here, and the guest came to 0000:0000. \(off)"
        case .zeros:
            "A jump, call or return to address 0, where zeros stand and no code: a null pointer, most often. \(off)"
        case .jump: "A jump or return to 0000:0000, which is the interrupt table and no code. \(off)"
        }
    }
}

/// `show vector-check`, and the setting.
public struct VectorCheckOutput: CommandOutput, Hashable {
    public var isOn: Bool

    public func lines(width: Int) -> [StyledLine] {
        [
            StyledLine(
                isOn
                    ? "In real mode the guest stops at a vector that holds 0000:0000, in the other modes at address 0 if "
                        + "zeros stand there (vector-check is on)."
                    : "Vectors that hold 0000:0000, and jumps to zeros at address 0, stop nothing (vector-check is off)."
            )
        ]
    }
}
