# One session over the guest that goes from 16- to 32- and 64-bit code. Nothing is set: no architecture, no layout.
set confirm off
set pagination off
x/2i $pc
print/x $cs_limit
# The far jump into 32-bit code, stepped over.
break *0x7c4c
continue
stepi
x/2i $pc
print $cr0
# 64-bit code, run into.
hbreak *0x7cd4
continue
x/2i $pc
print/x $efer
set $cs_base = $cs_base
stepi
info registers rip cs fs_base
print $xmm0.uint128
print $fctrl
set $rbx = 0x1122334455667788
print/x $rbx
# Memory that code writes: the stack of the CALL to come.
delete
watch *(long *)0x7bf8
continue
print/x *(long *)0x7bf8
delete
# A condition, evaluated in kvmscope: the third character.
break *0x7cb8 if $rsi == 0x7d39 + 2
continue
print/x $rsi
monitor info breakpoints
find /b 0x7c00, 0x7e00, 0x55, 0xaa
dump binary memory /dev/null 0x7c00 0x7e00
info threads
monitor info exits
monitor info stops
