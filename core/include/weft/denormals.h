#pragma once

namespace weft {

/// Whether arithmetic on the CPU takes denormal numbers (f32 below 2^-126, f64 below 2^-1022) for 0 and gives 0 instead
/// of them. On many processors they make a product or an exponential up to fifty times slower. Off at first; for the
/// whole process. It holds inside weft's calls and in its threads alone: every call leaves the thread's own mode as it
/// found it. Copies and conversions between dtypes keep denormal numbers either way. Without effect on a GPU, whose
/// kernels keep them at full speed, and on processors that are not x86.
void set_flush_denormals(bool on);
bool flush_denormals();

}  // namespace weft
