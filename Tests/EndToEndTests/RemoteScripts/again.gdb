# A guest that GDB starts again: its image is read anew, and its first instruction is 16-bit code.
set confirm off
set pagination off
break *0x7cd4
continue
x/i $pc
starti
x/i $pc
print/x $cs_limit
continue
x/i $pc
run
x/i $pc
kill
