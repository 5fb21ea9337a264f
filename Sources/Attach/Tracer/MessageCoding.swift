import DebugTarget
import Host

extension TracerRequest {
    var encoded: [UInt8] {
        switch self {
        case .attach(let process, let mappingSize, let syncMask, let vcpus):
            var writer = WireWriter(1)
            writer.put(process)
            writer.put(mappingSize)
            writer.put(syncMask)
            writer.put(vcpus)
            return writer.bytes
        case .add(let vcpus):
            var writer = WireWriter(11)
            writer.put(vcpus)
            return writer.bytes
        case .stop: return [2]
        case .go(let orders):
            var writer = WireWriter(3)
            writer.put(UInt16(orders.count))
            for order in orders {
                writer.put(order.index)
                writer.put(order.mode.rawValue)
                writer.put(order.plan)
            }
            return writer.bytes
        case .callValue(let descriptor, let request, let value):
            var writer = WireWriter(4)
            writer.put(descriptor)
            writer.put(request)
            writer.put(value)
            return writer.bytes
        case .callBytes(let descriptor, let request, let argument):
            var writer = WireWriter(5)
            writer.put(descriptor)
            writer.put(request)
            argument.withUnsafeBytes { writer.put($0) }
            return writer.bytes
        case .callIndirect(let descriptor, let request, let argument, let offset, let indirect):
            var writer = WireWriter(6)
            writer.put(descriptor)
            writer.put(request)
            argument.withUnsafeBytes { writer.put($0) }
            writer.put(offset)
            indirect.withUnsafeBytes { writer.put($0) }
            return writer.bytes
        case .close(let descriptor):
            var writer = WireWriter(7)
            writer.put(descriptor)
            return writer.bytes
        case .patch(let gpa, let patch, let hidden):
            var writer = WireWriter(25)
            writer.put(gpa)
            writer.put(patch)
            hidden.withUnsafeBytes { writer.put($0) }
            return writer.bytes
        case .unpatch(let gpa, let count):
            var writer = WireWriter(26)
            writer.put(gpa)
            writer.put(count)
            return writer.bytes
        case .nudge: return [8]
        case .synchronise(let mask):
            var writer = WireWriter(28)
            writer.put(mask)
            return writer.bytes
        case .noticed(let isPending): return [27, isPending ? 1 : 0]
        case .detach: return [9]
        case .standstills: return [20]
        case .memory(let regions):
            var writer = WireWriter(10)
            writer.put(UInt32(regions.count))
            for region in regions {
                writer.put(UInt32(truncatingIfNeeded: region.slot))
                writer.put(region.gpa)
                writer.put(region.size)
                writer.put(region.hva)
                writer.put(region.isReadOnly ? 1 as UInt8 : 0)
            }
            return writer.bytes
        case .launch(let arguments, let input, let output):
            var writer = WireWriter(21)
            writer.put(whole: input)
            writer.put(whole: output)
            writer.put(UInt16(clamping: arguments.count))
            for argument in arguments.prefix(Int(UInt16.max)) { writer.put(whole: argument) }
            return writer.bytes
        case .progress: return [22]
        case .watchCalls: return [24]
        case .find(let process, let threads): return Self.encoded(23, process, threads)
        case .pause(let process, let threads): return Self.encoded(29, process, threads)
        }
    }

    private static func encoded(_ kind: UInt8, _ process: Int32, _ threads: [Int32]) -> [UInt8] {
        var writer = WireWriter(kind)
        writer.put(process)
        writer.put(UInt16(clamping: threads.count))
        for thread in threads.prefix(Int(UInt16.max)) { writer.put(thread) }
        return writer.bytes
    }

    init?(_ bytes: ArraySlice<UInt8>) {
        guard let kind = bytes.first else { return nil }
        var reader = WireReader(bytes.dropFirst())
        switch kind {
        case 1:
            guard let process = reader.take(Int32.self), let size = reader.take(UInt32.self),
                let mask = reader.take(UInt64.self), let vcpus = reader.vcpus()
            else { return nil }
            self = .attach(process: process, mappingSize: size, syncMask: mask, vcpus: vcpus)
        case 2: self = .stop
        case 3:
            guard let count = reader.take(UInt16.self) else { return nil }
            var orders = [Go]()
            for _ in 0..<count {
                guard let index = reader.take(UInt16.self),
                    let mode = reader.take(UInt8.self).flatMap(GoMode.init),
                    let hasPlan = reader.take(UInt8.self), hasPlan <= 1
                else { return nil }
                var plan: UnattendedSteps?
                if hasPlan == 1 {
                    plan = reader.plan()
                    if plan == nil { return nil }
                }
                orders.append(Go(index: index, mode: mode, plan: plan))
            }
            self = .go(orders)
        case 4:
            guard let descriptor = reader.take(Int32.self), let request = reader.take(UInt64.self),
                let value = reader.take(UInt64.self)
            else { return nil }
            self = .callValue(descriptor: descriptor, request: request, value: value)
        case 5:
            guard let descriptor = reader.take(Int32.self), let request = reader.take(UInt64.self),
                let argument = reader.data()
            else { return nil }
            self = .callBytes(descriptor: descriptor, request: request, argument: Array(argument))
        case 6:
            guard let descriptor = reader.take(Int32.self), let request = reader.take(UInt64.self),
                let argument = reader.data(), let offset = reader.take(UInt32.self),
                let indirect = reader.data(),
                argument.count >= 8, Int(offset) <= argument.count - 8
            else { return nil }
            self = .callIndirect(
                descriptor: descriptor, request: request, argument: Array(argument), offset: offset,
                indirect: Array(indirect))
        case 7:
            guard let descriptor = reader.take(Int32.self) else { return nil }
            self = .close(descriptor: descriptor)
        case 8: self = .nudge
        case 28:
            guard let mask = reader.take(UInt64.self) else { return nil }
            self = .synchronise(mask: mask)
        case 27:
            guard let isPending = reader.take(UInt8.self), isPending <= 1 else { return nil }
            self = .noticed(isPending: isPending == 1)
        case 9: self = .detach
        case 20: self = .standstills
        case 11:
            guard let vcpus = reader.vcpus() else { return nil }
            self = .add(vcpus: vcpus)
        case 10:
            guard let count = reader.take(UInt32.self) else { return nil }
            var regions = [MemoryRegion]()
            for _ in 0..<count {
                guard let slot = reader.take(UInt32.self), let gpa = reader.take(UInt64.self),
                    let size = reader.take(UInt64.self), let hva = reader.take(UInt64.self),
                    let isReadOnly = reader.take(UInt8.self), isReadOnly <= 1
                else { return nil }
                regions.append(
                    MemoryRegion(
                        slot: Int(slot), gpa: gpa, size: size, hva: hva, isReadOnly: isReadOnly == 1))
            }
            self = .memory(regions)
        case 21:
            guard let input = reader.text(), let output = reader.text(), let count = reader.take(UInt16.self)
            else { return nil }
            var arguments = [String]()
            for _ in 0..<count {
                guard let argument = reader.text() else { return nil }
                arguments.append(argument)
            }
            self = .launch(arguments: arguments, input: input, output: output)
        case 22: self = .progress
        case 24: self = .watchCalls
        case 25:
            guard let gpa = reader.take(UInt64.self), let patch = reader.take(UInt8.self),
                let hidden = reader.data(), hidden.count <= 4096
            else { return nil }
            self = .patch(gpa: gpa, patch: patch, hidden: Array(hidden))
        case 26:
            guard let gpa = reader.take(UInt64.self), let count = reader.take(UInt16.self) else {
                return nil
            }
            self = .unpatch(gpa: gpa, count: count)
        case 23, 29:
            guard let process = reader.take(Int32.self), let count = reader.take(UInt16.self) else {
                return nil
            }
            var threads = [Int32]()
            for _ in 0..<count {
                guard let thread = reader.take(Int32.self) else { return nil }
                threads.append(thread)
            }
            self =
                kind == 23
                ? .find(process: process, threads: threads) : .pause(process: process, threads: threads)
        default: return nil
        }
        guard reader.isAtEnd else { return nil }
    }
}

extension TracerReply {
    var encoded: [UInt8] {
        switch self {
        case .done: return [1]
        case .attached(let valid):
            var writer = WireWriter(8)
            for mask in valid { writer.put(mask) }
            return writer.bytes
        case .refused(let error):
            var writer = WireWriter(2)
            writer.put(error.code.rawValue)
            writer.put(error.message)
            writer.put(error.remedy ?? "")
            return writer.bytes
        case .stopped(let standings, let spread):
            var writer = WireWriter(3)
            writer.put(spread)
            for standing in standings { writer.put(standing.rawValue) }
            return writer.bytes
        case .called(let result, let argument, let indirect):
            var writer = WireWriter(4)
            writer.put(result)
            argument.withUnsafeBytes { writer.put($0) }
            indirect.withUnsafeBytes { writer.put($0) }
            return writer.bytes
        case .nudged: return [5]
        case .changed: return [7]
        case .standstills(let count, let last, let total):
            var writer = WireWriter(20)
            writer.put(count)
            writer.put(last)
            writer.put(total)
            return writer.bytes
        case .found(let found):
            var writer = WireWriter(23)
            writer.put(UInt16(clamping: found.count))
            for one in found.prefix(Int(UInt16.max)) {
                writer.put(one.thread)
                writer.put(one.descriptor)
            }
            return writer.bytes
        case .progress(let progress):
            var writer = WireWriter(22)
            writer.put(progress)
            return writer.bytes
        case .released(let threads, let guestDebug, let pages, let patches, let stood):
            var writer = WireWriter(21)
            writer.put(threads)
            writer.put(guestDebug)
            writer.put(pages)
            writer.put(patches)
            writer.put(stood)
            return writer.bytes
        case .event(let event):
            var writer = WireWriter(6)
            writer.put(event.index)
            writer.put(event.standing.rawValue)
            writer.put(event.stood)
            event.page.withUnsafeBytes { writer.put($0) }
            writer.put(event.passed.count)
            writer.put(event.passed.last)
            event.passed.registers.withUnsafeBytes { writer.put($0) }
            return writer.bytes
        }
    }

    init?(_ bytes: ArraySlice<UInt8>) {
        guard let kind = bytes.first else { return nil }
        var reader = WireReader(bytes.dropFirst())
        switch kind {
        case 1: self = .done
        case 2:
            guard let code = reader.text().flatMap(HostGuestError.Code.init), let message = reader.text(),
                let remedy = reader.text()
            else { return nil }
            self = .refused(HostGuestError(code, message, remedy: remedy.isEmpty ? nil : remedy))
        case 3:
            guard let spread = reader.take(UInt64.self) else { return nil }
            var standings = [Standing]()
            while let byte = reader.take(UInt8.self) {
                guard let standing = Standing(rawValue: byte) else { return nil }
                standings.append(standing)
            }
            self = .stopped(standings, spread: spread)
            return
        case 4:
            guard let result = reader.take(Int32.self), let argument = reader.data(),
                let indirect = reader.data()
            else { return nil }
            self = .called(result: result, argument: Array(argument), indirect: Array(indirect))
        case 8:
            var valid = [UInt64]()
            while let mask = reader.take(UInt64.self) { valid.append(mask) }
            self = .attached(valid)
        case 5: self = .nudged
        case 7: self = .changed
        case 6:
            guard let index = reader.take(UInt16.self),
                let standing = reader.take(UInt8.self).flatMap(Standing.init),
                let stood = reader.take(UInt64.self), let page = reader.data(),
                let count = reader.take(UInt64.self), let last = reader.take(UInt64.self),
                let registers = reader.data()
            else { return nil }
            self = .event(
                Event(
                    index: index, standing: standing, stood: stood, page: Array(page),
                    passed: Passed(count: count, last: last, registers: Array(registers))))
        case 20:
            guard let count = reader.take(UInt64.self), let last = reader.take(UInt64.self),
                let total = reader.take(UInt64.self)
            else { return nil }
            self = .standstills(count: count, last: last, total: total)
        case 21:
            guard let threads = reader.take(UInt16.self), let debug = reader.take(UInt16.self),
                let pages = reader.take(UInt16.self), let patches = reader.take(UInt32.self),
                let stood = reader.take(UInt64.self)
            else { return nil }
            self = .released(
                threads: threads, guestDebug: debug, pages: pages, patches: patches, stood: stood)
        case 22:
            guard let progress = reader.progress() else { return nil }
            self = .progress(progress)
        case 23:
            guard let count = reader.take(UInt16.self) else { return nil }
            var found = [ThreadLook.Found]()
            for _ in 0..<count {
                guard let thread = reader.take(Int32.self), let descriptor = reader.take(Int32.self) else {
                    return nil
                }
                found.append(.init(thread: thread, descriptor: descriptor))
            }
            self = .found(found)
        default: return nil
        }
        guard reader.isAtEnd else { return nil }
    }
}
