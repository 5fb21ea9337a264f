# A VMM that kvmscope starts: from the first instruction of its firmware.
set confirm off
set pagination off
x/i $pc
stepi
x/i $pc
hbreak *0x7c00
info threads
monitor info vcpus
kill
