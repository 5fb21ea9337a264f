import X86

// The first 512 bytes of an XSAVE area, which are FXSAVE's. Source: SDM volume 1, table 10-2 and 13.4.2.

extension FPURegisters {
    /// Nil for an area that is too short to be one.
    init?(_ area: XSAVEArea) {
        let bytes = area.bytes
        guard bytes.count >= 576 else { return nil }
        self.init()
        controlWord = bytes.load(0)
        statusWord = bytes.load(2)
        tagWord = bytes[4]
        lastOpcode = bytes.load(6)
        lastInstruction = bytes.load(8)
        lastOperand = bytes.load(16)
        mxcsr = bytes.load(24)
        for index in st.indices {
            for byte in 0..<16 { st[index][byte] = bytes[32 + index * 16 + byte] }
        }
        for index in xmm.indices {
            for byte in 0..<16 { xmm[index][byte] = bytes[160 + index * 16 + byte] }
        }
    }
}

extension XSAVEArea {
    /// Puts x87 and SSE registers in and marks both as in use: without bits 0 and 1 of XSTATE_BV the processor
    /// loads the initial values. False, and nothing done, for an area that is too short.
    mutating func set(_ registers: FPURegisters) -> Bool {
        guard bytes.count >= 576 else { return false }
        bytes.store(registers.controlWord, at: 0)
        bytes.store(registers.statusWord, at: 2)
        bytes[4] = registers.tagWord
        bytes.store(registers.lastOpcode, at: 6)
        bytes.store(registers.lastInstruction, at: 8)
        bytes.store(registers.lastOperand, at: 16)
        bytes.store(registers.mxcsr, at: 24)
        for (index, slot) in registers.st.prefix(8).enumerated() {
            for byte in 0..<16 { bytes[32 + index * 16 + byte] = slot[byte] }
        }
        for (index, slot) in registers.xmm.prefix(16).enumerated() {
            for byte in 0..<16 { bytes[160 + index * 16 + byte] = slot[byte] }
        }
        bytes[512] |= 3
        return true
    }
}
