#pragma once

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <thread>
#include <utility>

#include "core/device/sanitizers.h"
#include "weft/weft.h"

// Allocations of a whole test program that fail where a test says so: the C++ ones by its own operator new, the
// device's by the linker's --wrap of weft::cpu::allocate and posix_memalign (tests/CMakeLists.txt). Included by one
// source.
namespace weft::failing {

/// Points from one attempt to the next: a sanitizer takes 10 to 30 times as long.
inline constexpr std::int64_t kStride = WEFT_ASAN || WEFT_TSAN ? 13 : 1;

inline std::atomic<bool> armed{false};
inline std::atomic<std::int64_t> allocations{0};
inline std::int64_t failing_point = 0;
inline bool fails_lastingly = false;
inline thread_local int exempt = 0;
inline thread_local bool system_fails = false;

/// Counts an allocation and says whether it fails.
inline bool fails() {
  if (exempt > 0 || !armed.load(std::memory_order_acquire)) return false;
  const std::int64_t point = allocations.fetch_add(1) + 1;
  return fails_lastingly ? point >= failing_point : point == failing_point;
}

/// While it lives, the allocation number `point` (from 1) of all threads fails; `lastingly`: and all later ones.
class Failing {
 public:
  Failing(std::int64_t point, bool lastingly) {
    failing_point = point;
    fails_lastingly = lastingly;
    allocations = 0;
    armed.store(true, std::memory_order_release);
  }
  ~Failing() { armed = false; }
  Failing(const Failing&) = delete;
  Failing& operator=(const Failing&) = delete;
};

/// While it lives, allocations of this thread neither fail nor count.
class Exempt {
 public:
  Exempt() { ++exempt; }
  ~Exempt() { --exempt; }
  Exempt(const Exempt&) = delete;
  Exempt& operator=(const Exempt&) = delete;
};

inline void* allocate(std::size_t bytes, std::size_t alignment) noexcept {
  if (fails()) return nullptr;
  bytes = bytes == 0 ? 1 : bytes;
  return alignment == 0 ? std::malloc(bytes)
                        : std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

inline void* allocate_or_throw(std::size_t bytes, std::size_t alignment) {
  void* address = allocate(bytes, alignment);
  if (address == nullptr) throw std::bad_alloc();
  return address;
}

}  // namespace weft::failing

void* operator new(std::size_t bytes) { return weft::failing::allocate_or_throw(bytes, 0); }
void* operator new[](std::size_t bytes) { return weft::failing::allocate_or_throw(bytes, 0); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return weft::failing::allocate_or_throw(bytes, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  return weft::failing::allocate_or_throw(bytes, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept { return weft::failing::allocate(bytes, 0); }
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept { return weft::failing::allocate(bytes, 0); }
void operator delete(void* address) noexcept { std::free(address); }
void operator delete[](void* address) noexcept { std::free(address); }
void operator delete(void* address, std::size_t) noexcept { std::free(address); }
void operator delete[](void* address, std::size_t) noexcept { std::free(address); }
void operator delete(void* address, std::align_val_t) noexcept { std::free(address); }
void operator delete[](void* address, std::align_val_t) noexcept { std::free(address); }
void operator delete(void* address, std::size_t, std::align_val_t) noexcept { std::free(address); }
void operator delete[](void* address, std::size_t, std::align_val_t) noexcept { std::free(address); }
void operator delete(void* address, const std::nothrow_t&) noexcept { std::free(address); }
void operator delete[](void* address, const std::nothrow_t&) noexcept { std::free(address); }

extern "C" {
int __real_posix_memalign(void** address, std::size_t alignment, std::size_t bytes);
int __wrap_posix_memalign(void** address, std::size_t alignment, std::size_t bytes) {
  return weft::failing::system_fails ? ENOMEM : __real_posix_memalign(address, alignment, bytes);
}

/// What is saved here need not outlive a crash.
int __wrap_fsync(int) { return 0; }

void* __real__ZN4weft3cpu10CpuBackend8allocateEm(void* backend, std::size_t bytes);
/// A device allocation that fails asks for more than the system has, where cached blocks might serve it. Where nothing
/// is cached, the system refuses.
void* __wrap__ZN4weft3cpu10CpuBackend8allocateEm(void* backend, std::size_t bytes) {
  if (!weft::failing::fails()) return __real__ZN4weft3cpu10CpuBackend8allocateEm(backend, bytes);
  if (!WEFT_ASAN) bytes = std::size_t{1} << 60;
  struct NoSystem {
    NoSystem() { weft::failing::system_fails = true; }
    ~NoSystem() { weft::failing::system_fails = false; }
  } no_system;
  return __real__ZN4weft3cpu10CpuBackend8allocateEm(backend, bytes);
}
}
