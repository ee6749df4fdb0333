#pragma once

#include <cstddef>

#include "core/device/sanitizers.h"

#if WEFT_ASAN
#include <sanitizer/asan_interface.h>
#endif

#if WEFT_TSAN
#include <sanitizer/tsan_interface.h>
extern "C" void __tsan_ignore_thread_begin();
extern "C" void __tsan_ignore_thread_end();
#endif

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

// Fibers on stacks of their own. One is resumed by a host thread at a time, and never from inside another one.

namespace weft::cuda_on_cpu {

struct Fiber {
  char* stack = nullptr;  ///< its lowest usable byte
  void* sanitizer = nullptr;
#if defined(__x86_64__)
  void* stack_pointer = nullptr;
#else
  ucontext_t context;
#endif
};

/// Makes the fiber start with `entry` when it is next resumed, whatever it was doing. `entry` calls fiber_entered first
/// and never returns. `colour` keeps the stacks of different fibers out of the same cache sets.
void prepare(Fiber& fiber, void (*entry)(), int colour);
void fiber_entered();
/// Runs the fiber until it suspends.
void resume(Fiber& fiber);
/// Of the running fiber, and with exactly one Quiet alive in it.
void suspend(Fiber& fiber);

/// The harness's own reads and writes, which are no business of ThreadSanitizer's: to it, each fiber is a thread.
struct Quiet {
#if WEFT_TSAN
  Quiet() { __tsan_ignore_thread_begin(); }
  ~Quiet() { __tsan_ignore_thread_end(); }
#else
  Quiet() {}
#endif
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;
};

/// Order between fibers as ThreadSanitizer sees it: what came before a release comes before what follows an acquire.
class Tag {
 public:
#if WEFT_TSAN
  void release() { __tsan_release(&byte_); }
  void acquire() { __tsan_acquire(&byte_); }

 private:
  char byte_ = 0;
#else
  void release() {}
  void acquire() {}
#endif
};

inline void poison([[maybe_unused]] const void* address, [[maybe_unused]] std::size_t bytes) {
#if WEFT_ASAN
  __asan_poison_memory_region(address, bytes);
#endif
}
inline void unpoison([[maybe_unused]] const void* address, [[maybe_unused]] std::size_t bytes) {
#if WEFT_ASAN
  __asan_unpoison_memory_region(address, bytes);
#endif
}

}  // namespace weft::cuda_on_cpu
