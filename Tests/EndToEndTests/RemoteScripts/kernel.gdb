# A kernel with DWARF: types, a backtrace and lines, in 64-bit code that nothing was set up for.
set confirm off
set pagination off
hbreak account
continue
bt
print *task
print tasks[1].name
ptype struct task
print current->next->name
print ticks
info line
up
info locals
print *current
finish
delete
watch jiffies
continue
print jiffies
delete
break schedule if jiffies == 9
continue
print jiffies
next
next
print current->state
list pick
info symbol $pc
monitor bt
