# Run inside GDB, with QEMU's gdbstub at $KVMSCOPE_STUB: steps a boot sector from 0000:7C00 up to its first
# INT and writes the linear address and the bytes of each instruction to $KVMSCOPE_TRACE, a line each.
#
# GDB decodes what its target description says. QEMU's says 32-bit, so a description of an 8086 with the same
# register block goes before it; otherwise every "mov bx, imm16" would swallow two bytes too many.
import os
import gdb

core = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "eip", "eflags", "cs", "ss", "ds", "es", "fs", "gs"]
kinds = {"esp": "data_ptr", "ebp": "data_ptr", "eip": "code_ptr"}
x87 = "fctrl fstat ftag fiseg fioff foseg fooff fop".split()
# What QEMU 7.2 sends behind the core registers: 168 bytes of SSE and control registers.
rest = 42

description = os.environ["KVMSCOPE_TRACE"] + ".xml"
with open(description, "w") as f:
    f.write('<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target>')
    f.write('<architecture>i8086</architecture><feature name="org.gnu.gdb.i386.core">')
    for name in core:
        f.write('<reg name="%s" bitsize="32" type="%s"/>' % (name, kinds.get(name, "int32")))
    for i in range(8):
        f.write('<reg name="st%d" bitsize="80" type="i387_ext"/>' % i)
    for name in x87:
        f.write('<reg name="%s" bitsize="32" type="int" group="float"/>' % name)
    f.write('</feature><feature name="rest">')
    for i in range(rest):
        f.write('<reg name="rest%d" bitsize="32" type="int"/>' % i)
    f.write("</feature></target>")

gdb.execute("set pagination off")
gdb.execute("set confirm off")
gdb.execute("set tdesc filename " + description)
gdb.execute("target remote " + os.environ["KVMSCOPE_STUB"])
gdb.execute("hbreak *0x7c00")
gdb.execute("continue")
gdb.execute("delete")

guest = gdb.selected_inferior()
last = None
with open(os.environ["KVMSCOPE_TRACE"], "w") as trace:
    for _ in range(20000):
        cs = int(gdb.parse_and_eval("(unsigned int)$cs"))
        ip = int(gdb.parse_and_eval("(unsigned int)$eip")) & 0xFFFF
        linear = cs * 16 + ip
        instruction = gdb.selected_frame().architecture().disassemble(linear, count=1)[0]
        code = bytes(guest.read_memory(linear, instruction["length"]))
        # A REP instruction stops once for each repetition; it is one instruction.
        if linear != last:
            trace.write("%05x %s\n" % (linear, code.hex()))
        last = linear
        if code[0] == 0xCD:
            break
        gdb.execute("stepi", to_string=True)
gdb.execute("kill")
gdb.execute("quit")
