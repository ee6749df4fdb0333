#include "core/device/backend.h"

#include <string>

#include "cpu/runtime/backend.h"
#include "weft/error.h"

#ifdef WEFT_CUDA
#include "cuda/runtime/backend.h"
#endif

namespace weft {

#ifdef WEFT_CUDA

int cuda_device_count() { return cuda::device_count(); }
std::string cuda_unavailable_reason() { return cuda::unavailable_reason(); }

BackendHandle backend(const Device& device) {
  if (device.is_cpu()) return BackendHandle(cpu::backend());
  return BackendHandle(cuda::backend(device.index));
}

#else

int cuda_device_count() { return 0; }
std::string cuda_unavailable_reason() { return "this build of weft has no CUDA backend"; }

BackendHandle backend(const Device& device) {
  if (device.is_cpu()) return BackendHandle(cpu::backend());
  throw DeviceError("device " + to_string(device) + " is not available: " + cuda_unavailable_reason());
}

#endif

bool cuda_is_available() { return cuda_device_count() > 0; }

MemoryStatistics memory_statistics(const Device& device) { return backend(device)->memory_statistics(); }

void release_cached_memory(const Device& device) { backend(device)->release_cached_memory(); }

}  // namespace weft
