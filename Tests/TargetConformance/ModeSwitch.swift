/// Guests that go from real mode through 32-bit to 64-bit code.
public enum ModeSwitch {
    /// The code of a guest that is loaded at `start`, with both switches in it. Its GDT has 32-bit code at selector 8
    /// and 64-bit code at 0x18; its page tables begin at 0x10000.
    ///
    /// - Parameters:
    ///   - real: the last of it in real mode; the table is loaded by it.
    ///   - protected: runs from 13 bytes after it on, without paging.
    ///   - long: runs from 45 bytes after that on.
    public static func code(at start: UInt16, real: [UInt8], protected: [UInt8], long: [UInt8]) -> [UInt8] {
        let protectedStart = start + UInt16(real.count) + 13
        let longStart = protectedStart + UInt16(protected.count) + 45
        func word(_ value: UInt16) -> [UInt8] { [UInt8(value & 0xFF), UInt8(value >> 8)] }
        let toProtected: [UInt8] =
            [
                0x0F, 0x20, 0xC0,  // mov eax,cr0
                0x0C, 0x01,  // or al,0x1
                0x0F, 0x22, 0xC0,  // mov cr0,eax
                0xEA,  // jmp 0x8:protected
            ] + word(protectedStart) + word(8)
        let toLong: [UInt8] =
            [
                0x0F, 0x20, 0xE0,  // mov eax,cr4
                0x0C, 0x20,  // or al,0x20
                0x0F, 0x22, 0xE0,  // mov cr4,eax
                0xB8, 0x00, 0x00, 0x01, 0x00,  // mov eax,0x10000
                0x0F, 0x22, 0xD8,  // mov cr3,eax
                0xB9, 0x80, 0x00, 0x00, 0xC0,  // mov ecx,0xc0000080
                0x0F, 0x32,  // rdmsr
                0x80, 0xCC, 0x01,  // or ah,0x1
                0x0F, 0x30,  // wrmsr
                0x0F, 0x20, 0xC0,  // mov eax,cr0
                0x0F, 0xBA, 0xE8, 0x1F,  // bts eax,0x1f
                0x0F, 0x22, 0xC0,  // mov cr0,eax
                0xEA,  // jmp 0x18:long
            ] + word(longStart) + word(0) + word(0x18)
        return real + toProtected + protected + toLong + long
    }
}
