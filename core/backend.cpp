#include "core/backend.h"

#include "cpu/backend.h"
#include "weft/error.h"

#ifdef WEFT_CUDA
#include "cuda/backend.h"
#endif

namespace weft {

#ifdef WEFT_CUDA

bool cuda_is_available() { return cuda::device_count() > 0; }
std::string cuda_unavailable_reason() { return cuda::unavailable_reason(); }

Backend& backend(const Device& device) { return device.is_cpu() ? cpu::backend() : cuda::backend(device.index); }

#else

bool cuda_is_available() { return false; }
std::string cuda_unavailable_reason() { return "this build of weft has no CUDA backend"; }

Backend& backend(const Device& device) {
  if (device.is_cpu()) return cpu::backend();
  throw DeviceError("device " + to_string(device) + " is not available: " + cuda_unavailable_reason());
}

#endif

MemoryStatistics memory_statistics(const Device& device) { return backend(device).memory_statistics(); }

void release_cached_memory(const Device& device) { backend(device).release_cached_memory(); }

}  // namespace weft
