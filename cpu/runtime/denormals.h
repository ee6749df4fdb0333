#pragma once

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include "weft/denormals.h"

namespace weft::cpu {

#if defined(__SSE2__)
inline constexpr unsigned kFlushBits = 0x8040;  // of MXCSR: results are flushed to zero, operands are taken for zero
#endif

/// Whether this thread takes denormal numbers for 0.
inline bool thread_flushes() {
#if defined(__SSE2__)
  return (_mm_getcsr() & kFlushBits) == kFlushBits;
#else
  return false;
#endif
}

inline void set_thread_flushes([[maybe_unused]] bool on) {
#if defined(__SSE2__)
  const unsigned mode = _mm_getcsr(), wanted = on ? mode | kFlushBits : mode & ~kFlushBits;
  if (mode != wanted) _mm_setcsr(wanted);
#endif
}

/// While it lives, this thread treats denormal numbers as it is told, whatever the caller's mode is, so that results do
/// not depend on the caller. Threads that take part in its regions do the same (cpu/runtime/threads.h).
class DenormalMode {
 public:
#if defined(__SSE2__)
  explicit DenormalMode(bool flushes = flush_denormals()) : callers_(_mm_getcsr() & kFlushBits) {
    set_thread_flushes(flushes);
  }
  ~DenormalMode() {
    const unsigned mode = _mm_getcsr();
    if ((mode & kFlushBits) != callers_) _mm_setcsr((mode & ~kFlushBits) | callers_);
  }
#else
  explicit DenormalMode(bool = false) {}
  ~DenormalMode() {}
#endif
  DenormalMode(const DenormalMode&) = delete;
  DenormalMode& operator=(const DenormalMode&) = delete;

#if defined(__SSE2__)
 private:
  unsigned callers_;
#endif
};

}  // namespace weft::cpu
