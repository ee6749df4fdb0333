#include "cuda/runtime/context.h"

#include <atomic>
#include <cstdlib>
#include <string>
#include <vector>

#include "weft/error.h"

namespace weft::cuda {

namespace {

unsigned* zeroed_counters(runtime::Stream stream) {
  constexpr std::size_t kBytes = Limits::kCounters * sizeof(unsigned);
  void* const counters = runtime::allocate(kBytes, stream);
  if (counters == nullptr)
    throw OutOfMemoryError("cuda: no memory for the " + std::to_string(kBytes) + " bytes of a device's counters");
  runtime::set_bytes(counters, 0, kBytes, stream);
  return static_cast<unsigned*>(counters);
}

// With WEFT_CUDA_SEGMENTS=0 every block of memory is an allocation of its own.
std::size_t segment_bytes() {
  const char* const segments = std::getenv("WEFT_CUDA_SEGMENTS");
  return segments != nullptr && std::string(segments) == "0" ? 0 : std::size_t{64} << 20;
}

// WEFT_CUDA_COLUMN_MIB sets the bytes of a convolution's columns, in MiB.
std::int64_t column_bytes() {
  constexpr std::int64_t kUsual = 128, kMost = 65536;  // MiB; kMost is a sanity bound of 64 GiB
  const char* const text = std::getenv("WEFT_CUDA_COLUMN_MIB");
  if (text == nullptr) return kUsual << 20;
  char* end = nullptr;
  const long long mib = std::strtoll(text, &end, 10);
  if (end == text || *end != '\0' || mib < 1 || mib > kMost) {
    throw ValueError("WEFT_CUDA_COLUMN_MIB: " + std::string(text) + " is no whole number from 1 to " +
                     std::to_string(kMost));
  }
  return std::int64_t{mib} << 20;
}

struct Contexts {
  std::mutex mutex;
  std::vector<std::atomic<Context*>> made =
      std::vector<std::atomic<Context*>>(static_cast<std::size_t>(runtime::device_count()));
};

// Never destroyed: arrays with static lifetime give their memory back after everything else is gone.
Contexts& contexts() {
  static Contexts& instance = *new Contexts;
  return instance;
}

}  // namespace

Context::Context(int device_index)
    : device(device_index),
      properties(runtime::properties(device)),
      limits{.column_bytes = column_bytes()},
      stream(runtime::create_stream()),
      memory(stream, segment_bytes()),
      blas(blas::create_handle()),
      counters(zeroed_counters(stream)) {}

Context& context(int device) {
  Contexts& all = contexts();
  const auto count = static_cast<int>(all.made.size());
  if (device < 0 || device >= count) {
    std::string reason = count == 0 ? "" : count == 1 ? "there is 1" : "there are " + std::to_string(count);
    const std::string others = runtime::unavailable_reason();
    if (!others.empty()) reason += (reason.empty() ? "" : "; ") + others;
    throw DeviceError("device cuda:" + std::to_string(device) + " is not available: " + reason);
  }
  std::atomic<Context*>& slot = all.made[static_cast<std::size_t>(device)];
  Context* context = slot.load(std::memory_order_acquire);
  if (context == nullptr) {
    const std::lock_guard lock(all.mutex);
    context = slot.load(std::memory_order_relaxed);
    if (context == nullptr) {
      const CurrentDevice current(device);
      context = new Context(device);
      slot.store(context, std::memory_order_release);
    }
  }
  return *context;
}

int make_current(int device) {
  const int before = runtime::current_device();
  runtime::set_device(device);
  return before;
}

}  // namespace weft::cuda
