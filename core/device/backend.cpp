#include "core/device/backend.h"

#include <string>

#include "core/device/matrix_products.h"
#include "cpu/matmul/gemm.h"
#include "cpu/runtime/backend.h"
#include "cpu/runtime/simd.h"
#include "cpu/runtime/threads.h"
#include "weft/error.h"

#ifdef WEFT_CUDA
#include "cuda/runtime/backend.h"
#endif

namespace weft {

namespace {

std::string cpu_description() {
  return std::to_string(cpu::thread_count()) + " threads, " + cpu::name(cpu::isa()) +
         " kernels, f32 matrix products by " + (cpu::gemm_uses_onednn() ? "oneDNN" : "weft");
}

}  // namespace

#ifdef WEFT_CUDA

int cuda_device_count() { return cuda::device_count(); }
std::string cuda_unavailable_reason() { return cuda::unavailable_reason(); }

Backend& backend(const Device& device) { return device.is_cpu() ? cpu::backend() : cuda::backend(device.index); }

std::uint64_t matrix_products(const Device& device) {
  return device.is_cpu() ? 0 : cuda::matrix_products(device.index);
}

std::string device_description(const Device& device) {
  return device.is_cpu() ? cpu_description() : cuda::description(device.index);
}

#else

int cuda_device_count() { return 0; }
std::string cuda_unavailable_reason() { return "this build of weft has no CUDA backend"; }

Backend& backend(const Device& device) {
  if (device.is_cpu()) return cpu::backend();
  throw DeviceError("device " + to_string(device) + " is not available: " + cuda_unavailable_reason());
}

std::uint64_t matrix_products(const Device& device) {
  static_cast<void>(backend(device));  // throws for all but the CPU
  return 0;
}

std::string device_description(const Device& device) {
  static_cast<void>(backend(device));  // throws for all but the CPU
  return cpu_description();
}

#endif

bool cuda_is_available() { return cuda_device_count() > 0; }

MemoryStatistics memory_statistics(const Device& device) { return backend(device).memory_statistics(); }

void release_cached_memory(const Device& device) { backend(device).release_cached_memory(); }

}  // namespace weft
