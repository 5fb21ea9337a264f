// A client imports KVMCore and nothing else: registers, segments, flags and the like are values of X86.
@_exported public import X86
