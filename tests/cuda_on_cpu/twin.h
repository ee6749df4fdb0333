#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "cuda/runtime/runtime.h"

// What tests set and read of the CUDA runtime that stands on the CPU, and what its parts share.

namespace weft::cuda_on_cpu {

/// Devices that the runtime reports: 2 at first.
void set_device_count(int count);
/// Compute capability of all devices: of the environment's WEFT_CUDA_ON_CPU_CAPABILITY at first ("7.5"), or 9.0.
void set_capability(int major, int minor);
/// Memory of each device, beyond which allocate returns null: 4 GiB at first.
void set_memory_limit(std::size_t bytes);
/// Waits of the host for a stream or an event so far.
std::uint64_t synchronizations() noexcept;
/// Calls of allocate and allocate_host so far.
std::uint64_t system_allocations() noexcept;

int current_device() noexcept;
/// The device of a live stream, the current one for null; throws DeviceError in the name of `call`.
int device_of(cuda::runtime::Stream stream, const char* call);
/// Runs the work, or records it when the stream is capturing.
void enqueue(const char* call, cuda::runtime::Stream stream, std::function<void()> work);
/// The address and the bytes of every live device allocation, by address.
std::vector<std::pair<std::uintptr_t, std::size_t>> device_allocations();
/// Whether all of the bytes lie in one live device allocation.
bool on_device(const void* address, std::size_t bytes) noexcept;

}  // namespace weft::cuda_on_cpu
