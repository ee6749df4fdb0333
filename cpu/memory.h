#pragma once

#include <cstddef>

#include "weft/device.h"

namespace weft::cpu {

/// Blocks of host memory by size class, 64-byte aligned. Freed blocks are kept for reuse, so that after its first step
/// training asks the system for nothing. `allocate` gives back the cache and tries again before it throws
/// OutOfMemoryError. Safe from any thread.
void* allocate(std::size_t bytes);
void deallocate(void* address, std::size_t bytes) noexcept;
MemoryStatistics memory_statistics();
void release_cached_memory();

}  // namespace weft::cpu
