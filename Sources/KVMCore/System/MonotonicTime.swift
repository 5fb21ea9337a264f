import CKVM

/// CLOCK_MONOTONIC in nanoseconds: the clock that exits and calls are timed by, and all that is compared with them.
package func monotonicTime() -> UInt64 { ckvm_monotonic() }
