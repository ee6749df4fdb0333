#pragma once

#include <cstddef>

#include "weft/device.h"

namespace weft::cpu {

/// Blocks of host memory, 64-byte aligned: small ones from slabs of one size class, larger ones cut from one space
/// (cpu/runtime/space.h). Freed memory is kept for reuse, so that after its first steps training asks the system for
/// nothing, until live and free bytes together are more than 64 MiB and more than the peak and a quarter: then it goes
/// back in units of 2 MiB. A unit that is partly live stays. `allocate` gives back all that is free and tries again
/// before it throws OutOfMemoryError. Safe from any thread.
void* allocate(std::size_t bytes);
void deallocate(void* address, std::size_t bytes) noexcept;
MemoryStatistics memory_statistics();
void release_cached_memory();

}  // namespace weft::cpu
