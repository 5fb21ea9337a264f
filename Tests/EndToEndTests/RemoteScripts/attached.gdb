# A guest that another program runs, and that was started without a word of debugging.
set confirm off
set pagination off
info threads
x/i $pc
stepi
stepi
info registers cs_base cs_limit cr0 efer
break *$pc
delete
monitor info sources
monitor info vcpus
detach
