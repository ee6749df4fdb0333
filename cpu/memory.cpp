#include "cpu/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <mutex>
#include <string>

#include "weft/error.h"

namespace weft::cpu {

namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

// Four classes per power of two from 64 bytes up: at most a fifth of a block is unused.
std::size_t class_index(std::size_t bytes) {
  if (bytes <= kAlignment) return 0;
  const int power = std::bit_width(bytes - 1) - 1;  // 2^power < bytes <= 2^(power + 1)
  const std::size_t quarter = ((bytes - 1) >> (power - 2)) & 3;
  return static_cast<std::size_t>(power - 6) * 4 + quarter + 1;
}

std::size_t class_bytes(std::size_t index) {
  if (index == 0) return kAlignment;
  const std::size_t power = (index - 1) / 4 + 6;
  return (std::size_t{1} << power) + (((index - 1) % 4 + 1) << (power - 2));
}

constexpr std::size_t kClasses = 1 + 4 * (63 - 6);

// AddressSanitizer must see every block come and go, and where it ends.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kCaching = false;
#else
constexpr bool kCaching = true;
#endif

struct FreeBlock {
  FreeBlock* next;
};

struct Cache {
  std::mutex mutex;
  std::array<FreeBlock*, kClasses> free{};
  MemoryStatistics statistics;
};

// Never destroyed: arrays with static lifetime give their memory back after everything else is gone.
Cache& cache() {
  static Cache& instance = *new Cache;
  return instance;
}

void* system_allocate(std::size_t bytes) noexcept {
  const std::size_t alignment = kCaching && bytes >= kHugePage ? kHugePage : kAlignment;
  void* address = nullptr;
  if (posix_memalign(&address, alignment, bytes) != 0) return nullptr;
  if (alignment == kHugePage) madvise(address, bytes, MADV_HUGEPAGE);
  return address;
}

void release(Cache& c) {
  for (std::size_t i = 0; i < kClasses; ++i) {
    while (c.free[i] != nullptr) {
      FreeBlock* block = c.free[i];
      c.free[i] = block->next;
      std::free(block);
      c.statistics.cached -= class_bytes(i);
      c.statistics.reserved -= class_bytes(i);
    }
  }
}

}  // namespace

void* allocate(std::size_t bytes) {
  Cache& c = cache();
  const std::lock_guard lock(c.mutex);
  MemoryStatistics& s = c.statistics;
  const std::size_t index = class_index(std::min<std::size_t>(bytes, PTRDIFF_MAX));
  const std::size_t rounded = kCaching ? class_bytes(index) : bytes;
  void* address = c.free[index];
  if (address != nullptr) {
    c.free[index] = c.free[index]->next;
    s.cached -= rounded;
  } else {
    if (bytes <= PTRDIFF_MAX / 2) address = system_allocate(rounded);
    if (address == nullptr && bytes <= PTRDIFF_MAX / 2) {
      release(c);
      address = system_allocate(rounded);
    }
    if (address == nullptr) {
      throw OutOfMemoryError("cpu: cannot allocate " + std::to_string(bytes) + " bytes; " + std::to_string(s.live) +
                             " are live and " + std::to_string(s.cached) + " cached");
    }
    s.reserved += rounded;
    ++s.system_allocations;
  }
  s.live += rounded;
  s.peak = std::max(s.peak, s.live);
  return address;
}

void deallocate(void* address, std::size_t bytes) noexcept {
  if (address == nullptr) return;
  Cache& c = cache();
  const std::lock_guard lock(c.mutex);
  if (!kCaching) {
    std::free(address);
    c.statistics.live -= bytes;
    c.statistics.reserved -= bytes;
    return;
  }
  const std::size_t index = class_index(bytes);
  auto* block = static_cast<FreeBlock*>(address);
  block->next = c.free[index];
  c.free[index] = block;
  c.statistics.live -= class_bytes(index);
  c.statistics.cached += class_bytes(index);
}

MemoryStatistics memory_statistics() {
  Cache& c = cache();
  const std::lock_guard lock(c.mutex);
  return c.statistics;
}

void release_cached_memory() {
  Cache& c = cache();
  const std::lock_guard lock(c.mutex);
  release(c);
}

}  // namespace weft::cpu
