public import DebugTarget
import Locking

extension OwnedMachine: ImageProviding {
    public var loadedImage: LoadedImage? {
        loaded.withLock { $0 }.map { image in
            LoadedImage(
                name: image.name, kind: image.identity?.kind.rawValue,
                description: image.identity?.description,
                parts: image.parts.map {
                    LoadedImage.Part(name: $0.name, address: $0.address, size: UInt64($0.bytes.count))
                },
                entry: image.entry.address)
        }
    }
}
