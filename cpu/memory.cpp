#include "cpu/memory.h"

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <mutex>
#include <string>

#include "core/sanitizers.h"
#include "core/size_class.h"
#include "weft/error.h"

namespace weft::cpu {

namespace {

constexpr std::size_t kAlignment = 64;
static_assert(kSmallestClass % kAlignment == 0);
constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kKept = std::size_t{64} << 20;  // bytes of free blocks that never call for their release

// AddressSanitizer must see every block come and go, and where it ends.
constexpr bool kCaching = WEFT_ASAN == 0;

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
  [[maybe_unused]] static const int watched = pthread_atfork([] { instance.mutex.lock(); },    // held by nobody else in
                                                             [] { instance.mutex.unlock(); },  // a child process
                                                             [] { instance.mutex.unlock(); });
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
    // A loop needs free blocks of every size that it uses, more than are live at once. Once they are many times as
    // much, most are of sizes no longer asked for.
    if (s.cached > std::max(4 * s.peak, kKept)) release(c);
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
