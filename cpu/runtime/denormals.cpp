#include "weft/denormals.h"

#include <atomic>

namespace weft {

namespace {

std::atomic<bool> flushes{false};

}  // namespace

void set_flush_denormals(bool on) { flushes.store(on, std::memory_order_relaxed); }

bool flush_denormals() { return flushes.load(std::memory_order_relaxed); }

}  // namespace weft
