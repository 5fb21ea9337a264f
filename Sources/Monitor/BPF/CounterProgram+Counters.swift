/// Counters of a thread: the first few that it needs stand in its slot, where they are found without a call; all others, and
/// those of threads without a slot, are in hashes. A counter stays where it was made, as long as the thread is known.
extension CounterProgram {
    /// r0 = the timed counter of the code in r3, made if there is none; on to `none` where there is no room.
    mutating func findTimed(_ kind: CounterKind, orElse none: ProgramAssembler.Label) {
        let found = code.label()
        let full = code.label()
        code.store(Self.frame, Stack.keyTag, value: Int32(kind.rawValue), bytes: 4)
        code.store(Self.frame, Stack.keyCode, 3)
        findNear(kind, CounterMaps.Near.timed, found)
        lookUp(maps.timed, key: Stack.key)
        code.jump(if: 0, .notEqual, 0, to: found)
        lookUp(maps.zero, key: Stack.zero)
        code.jump(if: 0, .equal, 0, to: full)
        code.copy(3, 0)
        enterValue(maps.timed, key: Stack.key)
        lookUp(maps.timed, key: Stack.key)
        code.jump(if: 0, .notEqual, 0, to: found)
        code.place(full)
        add(to: CounterMaps.Totals.unkept)
        code.jump(to: none)
        code.place(found)
    }

    /// One more of the plain counter of the code in r3.
    ///
    /// - Parameter tag: nil where the key has it already, and the counter is in the hash.
    mutating func addOne(tag: CounterKind?) {
        let found = code.label()
        code.store(Self.frame, Stack.keyCode, 3)
        if let tag {
            code.store(Self.frame, Stack.keyTag, value: Int32(tag.rawValue), bytes: 4)
            findNear(tag, CounterMaps.Near.plain, found)
        }
        lookUp(maps.counted, key: Stack.key)
        code.jump(if: 0, .notEqual, 0, to: found)
        enter(maps.counted, key: Stack.key, value: Stack.zero)
        lookUp(maps.counted, key: Stack.key)
        code.jump(if: 0, .notEqual, 0, to: found)
        add(to: CounterMaps.Totals.unkept)
        code.jump(to: end)
        code.place(found)
        countOne()
    }

    /// r0 = the counter of the code at `keyCode` in the thread's slot, and on to `found`; goes on where there is none and no
    /// room for one. The thread alone takes places in its slot, and nobody else while it is known.
    private mutating func findNear(
        _ kind: CounterKind, _ places: StrideTo<Int>, _ found: ProgramAssembler.Label
    ) {
        guard hasState else { return }
        let none = code.label()
        code.load(1, Self.frame, Stack.isHashed)
        code.jump(if: 1, .notEqual, 0, to: none)
        lookUp(maps.near, key: Stack.slot)
        code.jump(if: 0, .equal, 0, to: none)
        code.load(3, Self.frame, Stack.keyCode)
        for place in places {
            let (isFree, isThere, next) = (code.label(), code.label(), code.label())
            code.load(1, 0, place + CounterMaps.Near.kind)
            code.jump(if: 1, .equal, 0, to: isFree)
            code.jump(if: 1, .notEqual, Int32(kind.rawValue), to: next)
            code.load(1, 0, place + CounterMaps.Near.code)
            code.jump(if: 1, equals: 3, to: isThere)
            code.jump(to: next)
            code.place(isFree)
            // Who reads the slot meanwhile finds no kind without its code.
            code.store(0, place + CounterMaps.Near.code, 3)
            code.store(0, place + CounterMaps.Near.kind, value: Int32(kind.rawValue))
            code.place(isThere)
            code.add(0, value: Int32(place + CounterMaps.Near.counter))
            code.jump(to: found)
            code.place(next)
        }
        code.place(none)
    }

    /// One more of the counter at r0.
    mutating func countOne() {
        code.load(1, 0, CounterMaps.Timed.count)
        code.add(1, value: 1)
        code.store(0, CounterMaps.Timed.count, 1)
    }

    /// Adds the nanoseconds in r3 to the timed counter at r0, which is lost then.
    mutating func record() {
        let isShorter = code.label()
        code.load(1, 0, CounterMaps.Timed.time)
        code.add(1, 3)
        code.store(0, CounterMaps.Timed.time, 1)
        code.load(1, 0, CounterMaps.Timed.maximum)
        code.jump(if: 1, isAbove: 3, to: isShorter)
        code.store(0, CounterMaps.Timed.maximum, 3)
        code.place(isShorter)
        // The place of the highest bit, by halves.
        code.set(4, 0)
        for bits in [32, 16, 8, 4, 2, 1] as [UInt64] {
            let isLow = code.label()
            code.copy(1, 3)
            code.shiftRight(1, bits)
            code.jump(if: 1, .equal, 0, to: isLow)
            code.copy(3, 1)
            code.add(4, value: Int32(bits))
            code.place(isLow)
        }
        code.and(4, value: 63)
        code.shiftLeft(4, 3)
        code.add(0, 4)
        code.load(1, 0, CounterMaps.Timed.histogram)
        code.add(1, value: 1)
        code.store(0, CounterMaps.Timed.histogram, 1)
    }
}
