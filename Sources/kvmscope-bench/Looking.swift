import CBench
import DebugTarget
import Debugger
import Interface
import KVMCore
import Machine
import X86

/// `find` over all RAM, beside memmem over as many bytes of the same content.
func findFigure(mebibytes: Int, rounds: Int) throws -> Figure {
    var configuration = MachineConfiguration()
    configuration.name = "bench"
    configuration.ramSize = UInt64(mebibytes) << 20
    configuration.image = try GuestImage(name: "bench", bytes: [0xF4], at: 0x7C00)
    let machine = try OwnedMachine(configuration)
    let needle = Array("kvmscope looks for this".utf8)
    // What memory holds: neither all zeros nor noise alone. The needle stands at the very end.
    var random: UInt64 = 1
    var block = [UInt8](repeating: 0, count: 1 << 20)
    for index in block.indices {
        random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        block[index] = index & 0x1000 == 0 ? UInt8(truncatingIfNeeded: random >> 56) : 0
    }
    for part in 0..<mebibytes {
        try block.withUnsafeBytes { try machine.memory.write(UInt64(part) << 20, $0) }
    }
    let end = configuration.ramSize - UInt64(needle.count)
    try needle.withUnsafeBytes { try machine.memory.write(end, $0) }
    guard let region = machine.memory.regions.first, region.size == configuration.ramSize else {
        throw BenchFailure("RAM is in pieces")
    }

    let debugger = try Debugger(target: machine)
    var bareTimes: [Double] = []
    var ourTimes: [Double] = []
    var ratios: [Double] = []
    for _ in 0..<rounds {
        var time: UInt64 = 0
        let offset = cbench_find(region.hva, region.size, needle, UInt64(needle.count), &time)
        guard offset == Int64(end) else { throw BenchFailure("memmem did not find the needle") }
        let ours = try timed {
            let found = try debugger.find(needle, in: .everything, limit: 10)
            guard found.matches == [.physical(end)], found.searched == region.size else {
                throw BenchFailure("find did not find the needle")
            }
        }
        bareTimes.append(Double(time) / 1e6)
        ourTimes.append(ours / 1e6)
        ratios.append(ours / Double(time))
    }
    return Figure(
        name: "find over \(mebibytes) MiB, time to memmem's", value: median(ratios), unit: "",
        line: .under(1.3),
        parts: [("memmem", median(bareTimes), "ms"), ("ours", median(ourTimes), "ms")])
}

/// Page walks of four levels, beside KVM_TRANSLATE of the same addresses.
func pageWalkFigure(count: Int, rounds: Int) throws -> Figure {
    let bare = cbench_open_paged()
    guard bare >= 0 else { throw BenchFailure("the bare vCPU could not be set up (errno \(-bare))") }
    defer { cbench_close(bare) }
    var configuration = MachineConfiguration()
    configuration.name = "bench"
    configuration.ramSize = 1 << 20
    configuration.image = try GuestImage(name: "bench", bytes: [0xF4], at: 0x7C00)
    let machine = try OwnedMachine(configuration)
    var size: UInt64 = 0
    // SAFETY: cbench_tables returns a static array and its length.
    let tables = UnsafeRawBufferPointer(start: cbench_tables(&size), count: Int(size))
    try machine.memory.write(0x1000, tables)
    try machine.withVCPU(0) { vcpu in
        var special = try vcpu.specialRegisters()
        special.cr3 = 0x1000
        special.cr4 = [.pae]
        special.cr0 = [.pe, .et, .pg]
        special.efer = [.lme, .lma]
        try vcpu.setSpecialRegisters(special)
    }
    let debugger = try Debugger(target: machine)
    var bareTimes: [Double] = []
    var ourTimes: [Double] = []
    var ratios: [Double] = []
    for _ in 0..<rounds {
        var time: UInt64 = 0
        var sum: UInt64 = 0
        let status = cbench_translate(bare, UInt64(count), &time, &sum)
        guard status == 0 else { throw BenchFailure("KVM_TRANSLATE failed (errno \(-status))") }
        var ourSum: UInt64 = 0
        let ours = try timed {
            for index in 0..<UInt64(count) {
                // The addresses that cbench_translate has.
                let walk = try debugger.walk(.linear(index &* 0x1001 & 0x1F_FFFF))
                ourSum &+= walk.gpa ?? .max
            }
        }
        guard ourSum == sum else { throw BenchFailure("the walks and KVM_TRANSLATE differ") }
        bareTimes.append(Double(time) / Double(count))
        ourTimes.append(ours / Double(count))
        ratios.append(Double(time) / ours)
    }
    return Figure(
        name: "page walks, rate to KVM_TRANSLATE's", value: median(ratios), unit: "", line: .atLeast(20),
        parts: [("KVM_TRANSLATE", median(bareTimes), "ns"), ("ours", median(ourTimes), "ns")])
}
