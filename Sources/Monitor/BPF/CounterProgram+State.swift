/// What the programs keep of a thread from one event to the next.
extension CounterProgram {
    /// r9 = the thread's state, made if there is none: in the slot of its number, else in the hash.
    mutating func findState() {
        let (isHashed, found) = (code.label(), code.label())
        hasState = true
        code.copy(1, 7)
        code.and(1, value: Int32(maps.slotCount - 1))
        code.store(Self.frame, Stack.slot, 1, bytes: 4)
        lookUpSlot()
        code.load(1, 0, CounterMaps.State.thread)
        code.subtract(1, 7)
        code.store(Self.frame, Stack.isHashed, 1)
        code.jump(if: 1, .equal, 0, to: found)
        // One that is in the hash stays there, also when the slot is free again.
        lookUp(maps.threads, key: Stack.thread)
        code.jump(if: 0, .notEqual, 0, to: found)
        lookUpSlot()
        code.load(1, 0, CounterMaps.State.thread)
        code.jump(if: 1, .notEqual, 0, to: isHashed)
        code.store(Self.frame, Stack.state, 7)
        enter(maps.claims, key: Stack.slot, value: Stack.state, orElse: isHashed)
        lookUpSlot()
        beginState(0, 0)
        code.store(Self.frame, Stack.isHashed, value: 0)
        code.jump(to: found)

        code.place(isHashed)
        beginState(Self.frame, Stack.state)
        enter(maps.threads, key: Stack.thread, value: Stack.state)
        lookUp(maps.threads, key: Stack.thread)
        code.jump(if: 0, .notEqual, 0, to: found)
        add(to: CounterMaps.Totals.unkept)
        code.jump(to: end)
        code.place(found)
        code.copy(9, 0)
        // Another process' thread has the number of one that has ended: what was open was not its.
        let isSame = code.label()
        code.load(1, 9, CounterMaps.State.process)
        code.load(2, Self.frame, Stack.process)
        code.subtract(1, 2)
        code.jump(if: 1, .equal, 0, to: isSame)
        beginState(9, 0)
        code.place(isSame)
    }

    /// r0 = the slot of the thread's number.
    private mutating func lookUpSlot() {
        lookUp(maps.slots, key: Stack.slot)
        code.jump(if: 0, .equal, 0, to: end)
    }

    /// A state of the thread's in which nothing is open, at `register` and `offset`.
    private mutating func beginState(_ register: UInt8, _ offset: Int) {
        for word in stride(from: 0, to: CounterMaps.State.size, by: 8) {
            code.store(register, offset + word, value: 0)
        }
        code.load(1, Self.frame, Stack.process)
        code.store(register, offset + CounterMaps.State.process, 1)
        code.store(register, offset + CounterMaps.State.thread, 7)
    }
}
