import GuestView
import X86

extension Model {
    /// One line for each vCPU; where they do not all fit, a window around the selected one.
    func drawVCPUs(_ guest: GuestView, _ brush: inout Brush) {
        for (row, vcpu) in shownVCPUs(guest, rows: brush.height).enumerated() {
            brush.go(0, row)
            draw(vcpu, isSelected: vcpu.id == guest.selected, &brush)
        }
    }

    func shownVCPUs(_ guest: GuestView, rows: Int) -> ArraySlice<VCPULine> {
        let selected = guest.vcpus.firstIndex { $0.id == guest.selected } ?? 0
        var first = min(scroll[.vcpus, default: 0], max(0, guest.vcpus.count - rows))
        if guest.vcpus.count > rows, focus == .vcpus {
            first = max(0, min(selected - rows / 2, guest.vcpus.count - rows))
        }
        return guest.vcpus.dropFirst(first).prefix(rows)
    }

    private func draw(_ vcpu: VCPULine, isSelected: Bool, _ brush: inout Brush) {
        let look = isSelected ? Look(.plain, .bold) : .plain
        brush.put(scalar: isSelected ? 0x3E : 0x20, Look(.pc, .bold))
        brush.put("\(vcpu.id)", look)
        brush.pad(to: 4)
        brush.put(vcpu.isBoot ? "boot " : "     ", .dim)
        let role: Look =
            switch vcpu.state {
            case "running": .good
            case "dead": .error
            case "stopped": .plain
            default: .warning
            }
        brush.put(vcpu.state, role)
        brush.pad(to: 18)
        if let mode = vcpu.mode { brush.put(mode.rawValue) } else { brush.put("??", .unread) }
        brush.pad(to: 34)
        brush.put(vcpu.location, .address)
        brush.pad(to: max(brush.x + 1, 52))
        if !vcpu.age.isEmpty {
            brush.put(vcpu.age, .dim)
        } else if let speed = vcpu.exitsPerSecond {
            brush.put("\(rate(speed)) exits/s")
        }
        brush.pad(to: max(brush.x + 1, 68))
        if !vcpu.lastExit.isEmpty {
            brush.put(brush.width > 110 ? "last " : "", .dim)
            brush.put(vcpu.lastExit)
        }
        guard brush.width > 110 else { return }
        if let share = vcpu.share {
            brush.pad(to: max(brush.x + 1, min(100, brush.width - 31)))
            brush.put("guest ", .dim)
            brush.put("\(Int(share.guest.rounded()))%  ")
            brush.put("kernel ", .dim)
            brush.put("\(Int(share.kernel.rounded()))%  ")
            brush.put("user ", .dim)
            brush.put("\(Int(share.user.rounded()))%")
        }
    }
}
