import DebugTarget
import KVMCore
import Locking
import Synchronization

/// A range of addresses with devices on it: the ports, or guest-physical memory where no RAM is.
///
/// Where nobody answers, reads give all ones and writes are dropped, as on a PC; both are counted.
final class Bus: Sendable {
    /// A class, so that a look-up copies one reference.
    private final class Mount: Sendable {
        let range: Range<UInt64>
        let device: any Device
        let width: Int
        let takesParts: Bool

        init(range: Range<UInt64>, device: any Device) {
            self.range = range
            self.device = device
            width = device.width
            takesParts = device.takesParts
        }
    }

    /// In order of address; no two overlap.
    private let mounts: [Mount]
    private let unclaimedReads = Atomic<UInt64>(0)
    private let unclaimedWrites = Atomic<UInt64>(0)
    /// By address; a guest can touch any number of them.
    private let nobody = Lock<[UInt64: UnclaimedAccess]>([:])
    /// How many addresses are counted apart.
    static let listed = 256

    /// Which devices, each from which address on and how many bytes wide.
    init(_ devices: [(base: UInt64, size: UInt64, device: any Device)] = []) {
        let sorted = devices.map { Mount(range: $0.base..<$0.base + $0.size, device: $0.device) }
            .sorted { $0.range.lowerBound < $1.range.lowerBound }
        for (one, next) in zip(sorted, sorted.dropFirst()) {
            precondition(one.range.upperBound <= next.range.lowerBound, "two devices at one address")
        }
        mounts = sorted
    }

    /// How many accesses nobody answered.
    var unclaimed: (reads: UInt64, writes: UInt64) {
        (unclaimedReads.load(ordering: .relaxed), unclaimedWrites.load(ordering: .relaxed))
    }

    /// Those of them that are counted by address.
    var unclaimedByAddress: [UnclaimedAccess] {
        nobody.withLock { $0.values.sorted { $0.address < $1.address } }
    }

    /// What is on it, in order of address.
    var devices: [MountedDevice] {
        mounts.map {
            MountedDevice(first: $0.range.lowerBound, last: $0.range.upperBound - 1, name: $0.device.name)
        }
    }

    // MARK: all devices

    func reset() {
        for mount in mounts { mount.device.reset() }
        nobody.withLock { $0 = [:] }
    }

    /// What all of them hold, in order of address.
    func save() -> [(any Sendable)?] { mounts.map { $0.device.save() } }

    /// Takes on what ``save()`` of this bus gave.
    func restore(_ saved: [(any Sendable)?]) {
        for (mount, state) in zip(mounts, saved) {
            if let state { mount.device.restore(state) }
        }
    }

    private func note(_ address: UInt64, size: Int, written value: UInt64?) {
        nobody.withLock { all in
            if let place = all.index(forKey: address) {
                all.values[place].note(size: size, written: value)
            } else if all.count < Self.listed {
                var access = UnclaimedAccess(address: address)
                access.note(size: size, written: value)
                all[address] = access
            }
        }
    }

    private func mount(_ address: UInt64) -> Mount? {
        var low = 0
        var high = mounts.count
        while low < high {
            let middle = (low + high) / 2
            if mounts[middle].range.upperBound <= address { low = middle + 1 } else { high = middle }
        }
        guard low < mounts.count, mounts[low].range.contains(address) else { return nil }
        return mounts[low]
    }

    /// How much of an access of `size` bytes goes to one device, or to nobody, in one piece.
    private func piece(_ address: UInt64, _ size: Int, _ mount: Mount?) -> Int {
        guard let mount else { return 1 }
        return Int(min(UInt64(min(size, mount.width)), mount.range.upperBound - address))
    }

    /// `size` bytes, 1 to 8, little-endian.
    func read(_ address: UInt64, size: Int) -> UInt64 {
        var value: UInt64 = 0
        var done = 0
        var isClaimed = false
        while done < size {
            // A port access at 0xFFFF goes on at 0x10000, where nobody is: no wrap.
            let at = address &+ UInt64(done)
            let mount = mount(at).flatMap { done == 0 || $0.takesParts ? $0 : nil }
            let piece = piece(at, size - done, mount)
            let mask: UInt64 = piece == 8 ? .max : (1 << UInt64(piece * 8)) - 1
            let part = mount.map { $0.device.read(at - $0.range.lowerBound, size: piece) & mask } ?? mask
            value |= part << UInt64(done * 8)
            isClaimed = isClaimed || mount != nil
            done += piece
        }
        if !isClaimed {
            unclaimedReads.wrappingAdd(1, ordering: .relaxed)
            note(address, size: size, written: nil)
        }
        return value
    }

    /// Writes the low `size` bytes of `value`.
    func write(_ address: UInt64, size: Int, _ value: UInt64) -> DeviceEffect {
        var effect = DeviceEffect.none
        var done = 0
        var isClaimed = false
        while done < size {
            let at = address &+ UInt64(done)
            let mount = mount(at).flatMap { done == 0 || $0.takesParts ? $0 : nil }
            let piece = piece(at, size - done, mount)
            if let mount {
                isClaimed = true
                let mask: UInt64 = piece == 8 ? .max : (1 << UInt64(piece * 8)) - 1
                let result = mount.device.write(
                    at - mount.range.lowerBound, size: piece, value >> UInt64(done * 8) & mask)
                if effect == .none { effect = result }
            }
            done += piece
        }
        if !isClaimed {
            unclaimedWrites.wrappingAdd(1, ordering: .relaxed)
            note(address, size: size, written: value)
        }
        return effect
    }
}
