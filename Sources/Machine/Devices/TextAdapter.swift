import DebugTarget
import Locking

/// The registers of a VGA that text mode needs: the CRT controller's at 3D4h and 3D5h, whose cursor and start address the
/// screen is drawn with, and others that only keep what is written. Its memory is the guest's RAM at B8000h.
///
/// Source: IBM VGA Technical Reference, "CRT controller registers".
package final class TextAdapter: Device {
    /// The first port: 3C0h.
    static let first: UInt64 = 0x3C0
    static let count: UInt64 = 0x20

    private struct State {
        var controller = [UInt8](repeating: 0, count: 32)
        var others = [UInt8](repeating: 0, count: 32)
        /// Sequencer, graphics controller, attribute controller, palette.
        var indexed: [UInt16: UInt8] = [:]
        var attributeIsIndex = true
        var index: UInt8 = 0
        /// Bits 0 and 3 of the status, which change with each read: a program that waits for a retrace gets on.
        var retrace = false
        /// As the BIOS set it.
        var mode = VideoMode.atReset
        /// Bit 0 of the graphics controller's register 6, once the guest has written it after the BIOS set the mode.
        var showsGraphics: Bool?
    }

    private let state = Lock(State())

    package init() { setCursorShape(0x0607) }

    /// Where the cursor is, in characters from the start of the screen's memory.
    var cursor: Int { state.withLock { Int($0.controller[0x0E]) << 8 | Int($0.controller[0x0F]) } }
    /// Where the screen starts, likewise.
    var start: Int { state.withLock { Int($0.controller[0x0C]) << 8 | Int($0.controller[0x0D]) } }
    /// The mode that the BIOS has set.
    var mode: VideoMode { state.withLock { $0.mode } }

    func setMode(_ mode: VideoMode) {
        state.withLock { state in
            state.mode = mode
            state.showsGraphics = nil
        }
    }

    /// What is shown where that is no text.
    var graphics: ScreenContents.Graphics? {
        state.withLock { state in
            switch (state.mode.graphics, state.showsGraphics) {
            case (let known?, nil), (let known?, true): known
            case (nil, true):
                ScreenContents.Graphics(mode: nil, width: 0, height: 0, colors: 0, isDrawn: false)
            default: nil
            }
        }
    }

    /// Bit 5 of its start register hides it.
    var isCursorShown: Bool { state.withLock { $0.controller[0x0A] & 0x20 == 0 } }

    func setCursor(_ place: Int) {
        state.withLock { state in
            state.controller[0x0E] = UInt8(truncatingIfNeeded: place >> 8)
            state.controller[0x0F] = UInt8(truncatingIfNeeded: place)
        }
    }

    func setStart(_ place: Int) {
        state.withLock { state in
            state.controller[0x0C] = UInt8(truncatingIfNeeded: place >> 8)
            state.controller[0x0D] = UInt8(truncatingIfNeeded: place)
        }
    }

    /// First and last line, as INT 10h has them in CX.
    func setCursorShape(_ shape: UInt16) {
        state.withLock { state in
            state.controller[0x0A] = UInt8(truncatingIfNeeded: shape >> 8)
            state.controller[0x0B] = UInt8(truncatingIfNeeded: shape)
        }
    }

    var name: String { "VGA registers, text" }

    func read(_ offset: UInt64, size: Int) -> UInt64 {
        state.withLock { state in
            switch offset {
            case 0x00: return UInt64(state.index)
            case 0x01: return UInt64(state.indexed[UInt16(state.index)] ?? 0)
            case 0x05: return UInt64(state.indexed[0x100 | UInt16(state.others[4])] ?? 0)
            // What is written to 3C2h is read here.
            case 0x0C: return UInt64(state.others[2] | 0x01)
            case 0x0F: return UInt64(state.indexed[0x200 | UInt16(state.others[14])] ?? 0)
            case 0x14: return UInt64(state.others[0x14])
            case 0x15: return UInt64(state.controller[Int(state.others[0x14] & 0x1F)])
            case 0x1A:
                state.attributeIsIndex = true
                state.retrace.toggle()
                return state.retrace ? 0x09 : 0
            default: return UInt64(state.others[Int(offset & 0x1F)])
            }
        }
    }

    func write(_ offset: UInt64, size: Int, _ value: UInt64) -> DeviceEffect {
        let value = UInt8(truncatingIfNeeded: value)
        state.withLock { state in
            switch offset {
            case 0x00:
                if state.attributeIsIndex {
                    state.index = value & 0x3F
                } else {
                    state.indexed[UInt16(state.index & 0x1F)] = value
                }
                state.attributeIsIndex.toggle()
            case 0x05: state.indexed[0x100 | UInt16(state.others[4])] = value
            case 0x0F:
                state.indexed[0x200 | UInt16(state.others[14])] = value
                if state.others[14] == 6 { state.showsGraphics = value & 1 != 0 }
            case 0x15: state.controller[Int(state.others[0x14] & 0x1F)] = value
            default: state.others[Int(offset & 0x1F)] = value
            }
        }
        return .none
    }

    func reset() {
        state.withLock { $0 = State() }
        setCursorShape(0x0607)
    }
    func save() -> (any Sendable)? { state.withLock { $0 } }
    func restore(_ saved: any Sendable) {
        if let saved = saved as? State { state.withLock { $0 = saved } }
    }
}
