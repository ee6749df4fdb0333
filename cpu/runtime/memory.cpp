#include "cpu/runtime/backend.h"

#include <malloc.h>
#include <pthread.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <mutex>
#include <new>
#include <string>

#include "core/device/integer.h"
#include "core/device/sanitizers.h"
#include "core/device/size_class.h"
#include "cpu/runtime/space.h"
#include "weft/error.h"

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

namespace weft::cpu {

namespace {

constexpr std::size_t kAlignment = 64;
static_assert(kSmallestClass % kAlignment == 0);
constexpr std::size_t kKept = std::size_t{64} << 20;  // bytes that never call for the release of free ones
constexpr std::size_t kSmall = 4096;                  // bytes of the largest block of a slab
constexpr std::size_t kSlab = std::size_t{64} << 10;  // the alignment of slabs

// The class of a small block. Its bytes are a multiple of the alignment, as a slab's blocks lie one after another.
constexpr std::size_t small_index(std::size_t bytes) { return class_index(round_up(bytes, kAlignment)); }
static_assert(class_bytes(small_index(65)) == 128 && class_bytes(small_index(129)) == 192);

// AddressSanitizer and memcheck must see every block come and go, and where it ends.
bool may_cache() { return WEFT_ASAN == 0 && RUNNING_ON_VALGRIND == 0; }

struct FreeBlock {
  FreeBlock* next;
};

// Blocks of one class, after this header.
struct alignas(kAlignment) Slab {
  Slab* before;  // neighbours in the list of those with free blocks
  Slab* after;
  FreeBlock* free;
  std::size_t fresh;  // where the blocks begin that were never used
  std::size_t used;   // blocks

  bool full(std::size_t block) const { return free == nullptr && fresh + block > kSlab - kAlignment; }
};

struct Cache {
  const bool caching = may_cache();
  std::mutex mutex;
  Space large{kAlignment, true};
  Space small{kSlab, false};
  std::array<Slab*, class_index(kSmall) + 1> slabs{};  // with free blocks
  std::size_t live = 0;
  std::size_t peak = 0;
  std::size_t blocks = 0;              // bytes of blocks from the C library
  std::size_t system_allocations = 0;  // calls of the C library

  void enlist(Slab* slab, std::size_t index) {
    slab->before = nullptr;
    slab->after = slabs[index];
    if (slab->after != nullptr) slab->after->before = slab;
    slabs[index] = slab;
  }

  void delist(Slab* slab, std::size_t index) {
    (slab->before != nullptr ? slab->before->after : slabs[index]) = slab->after;
    if (slab->after != nullptr) slab->after->before = slab->before;
  }

  void* allocate_small(std::size_t index) noexcept {
    const std::size_t block = class_bytes(index);
    if (slabs[index] == nullptr) {
      void* address = small.allocate(kSlab - kAlignment);
      if (address == nullptr) return nullptr;
      enlist(new (address) Slab{.before = nullptr, .after = nullptr, .free = nullptr, .fresh = sizeof(Slab), .used = 0},
             index);
    }
    Slab* slab = slabs[index];
    void* address = slab->free;
    if (address != nullptr) {
      slab->free = slab->free->next;
    } else {
      address = reinterpret_cast<char*>(slab) + slab->fresh;
      slab->fresh += block;
    }
    ++slab->used;
    if (slab->full(block)) delist(slab, index);
    return address;
  }

  void deallocate_small(void* address, std::size_t index) noexcept {
    auto* slab = reinterpret_cast<Slab*>(reinterpret_cast<std::uintptr_t>(address) / kSlab * kSlab);
    if (slab->full(class_bytes(index))) enlist(slab, index);
    auto* block = static_cast<FreeBlock*>(address);
    block->next = slab->free;
    slab->free = block;
    // An empty slab stays while it is its class's only one with free blocks: a loop may be at its edge.
    if (--slab->used == 0 && (slab->before != nullptr || slab->after != nullptr)) {
      delist(slab, index);
      small.deallocate(slab);
    }
  }

  std::size_t reserved() const { return large.reserved() + small.reserved() + blocks; }

  // Free bytes go once all are more than the peak and a quarter. What a loop uses is less (docs/performance.md).
  void trim() noexcept {
    const std::size_t most = std::max(peak + peak / 4, kKept);
    if (reserved() > most) large.trim(reserved() - most);
    if (reserved() > most) small.trim(reserved() - most);
  }

  void release() noexcept {
    for (std::size_t index = 0; index < slabs.size(); ++index) {
      Slab* after = nullptr;
      for (Slab* slab = slabs[index]; slab != nullptr; slab = after) {
        after = slab->after;
        if (slab->used > 0) continue;
        delist(slab, index);
        small.deallocate(slab);
      }
    }
    large.release();
    small.release();
  }

  // Null where memory runs out; `taken` becomes the bytes that the block takes.
  void* take(std::size_t bytes, std::size_t& taken) noexcept {
    void* address = nullptr;
    if (!caching) {
      if (posix_memalign(&address, kAlignment, bytes) != 0) return nullptr;
      ++system_allocations;
      blocks += bytes;
      taken = bytes;
    } else if (bytes <= kSmall) {
      address = allocate_small(small_index(bytes));
      taken = class_bytes(small_index(bytes));
    } else {
      address = large.allocate(bytes);
      if (address != nullptr) taken = Space::size(address);
    }
    return address;
  }
};

// Never destroyed: arrays with static lifetime give their memory back after everything else is gone.
Cache& cache() {
  static Cache& instance = *new Cache;
  [[maybe_unused]] static const int watched = pthread_atfork([] { instance.mutex.lock(); },    // held by nobody else in
                                                             [] { instance.mutex.unlock(); },  // a child process
                                                             [] { instance.mutex.unlock(); });
  return instance;
}

}  // namespace

// Blocks of host memory, 64-byte aligned: small ones from slabs of one size class, larger ones cut from one space
// (cpu/runtime/space.h). Freed memory is kept for reuse, so that after its first steps training asks the system for
// nothing, until live and free bytes together are more than 64 MiB and more than the peak and a quarter: then it goes
// back in units of 2 MiB. A unit that is partly live stays. `allocate` gives back all that is free and tries again
// before it throws OutOfMemoryError. Safe from any thread.

void* CpuBackend::allocate(std::size_t bytes) {
  Cache& c = cache();
  const std::lock_guard lock(c.mutex);
  std::size_t taken = 0;
  void* address = nullptr;
  if (bytes <= PTRDIFF_MAX / 2) {
    address = c.take(bytes, taken);
    if (address == nullptr) {
      c.release();
      address = c.take(bytes, taken);
    }
  }
  if (address == nullptr) {
    throw OutOfMemoryError("cpu: cannot allocate " + std::to_string(bytes) + " bytes; " + std::to_string(c.live) +
                           " are live and " + std::to_string(c.reserved() - c.live) + " cached");
  }
  c.live += taken;
  c.peak = std::max(c.peak, c.live);
  c.trim();
  return address;
}

void CpuBackend::deallocate(void* address, std::size_t bytes) noexcept {
  if (address == nullptr) return;
  Cache& c = cache();
  const std::lock_guard lock(c.mutex);
  if (!c.caching) {
    std::free(address);
    c.live -= bytes;
    c.blocks -= bytes;
  } else if (bytes <= kSmall) {
    c.live -= class_bytes(small_index(bytes));
    c.deallocate_small(address, small_index(bytes));
  } else {
    c.live -= Space::size(address);
    c.large.deallocate(address);
  }
  c.trim();
}

MemoryStatistics CpuBackend::memory_statistics() const {
  Cache& c = cache();
  const std::lock_guard lock(c.mutex);
  return {.live = c.live,
          .peak = c.peak,
          .cached = c.reserved() - c.live,
          .reserved = c.reserved(),
          .system_allocations = c.system_allocations + c.large.system_allocations() + c.small.system_allocations()};
}

void CpuBackend::release_cached_memory() {
  {
    Cache& c = cache();
    const std::lock_guard lock(c.mutex);
    c.release();
  }
#ifdef __GLIBC__
  malloc_trim(0);  // what graphs left in the C library's heap
#endif
}

}  // namespace weft::cpu
