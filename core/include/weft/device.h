#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weft {

/// Where an array lives: the CPU, of which there is one whatever the index, or CUDA GPU number `index`.
struct Device {
  enum class Type { cpu, cuda };
  Type type = Type::cpu;
  int index = 0;

  static constexpr Device cpu() { return {}; }
  static constexpr Device cuda(int index = 0) { return {Type::cuda, index}; }
  /// "cpu", "cuda" or "cuda:1". Throws ValueError on anything else.
  static Device parse(std::string_view text);

  bool is_cpu() const { return type == Type::cpu; }
  bool is_cuda() const { return type == Type::cuda; }
  friend bool operator==(const Device& a, const Device& b) {
    return a.type == b.type && (a.is_cpu() || a.index == b.index);
  }
};

std::string to_string(const Device& device);

/// Throws DeviceError, with the reason, when the device is not available.
void require_device(const Device& device);
/// Returns one line for people to read: a GPU's name, compute capability, memory, driver and runtime; the CPU's threads
/// and kernels. Throws DeviceError when the device is not available.
std::string description(const Device& device);
/// Returns the instruction sets that the CPU's kernels are compiled for and can use here, the one in use first and then
/// each narrower one: "avx512", "avx2", "portable".
std::vector<std::string> cpu_instruction_sets();

/// GPUs that this build can use, of compute capability 8.0 or more: Device::cuda(0) and so on.
int cuda_device_count();
/// True when this build has CUDA and at least one GPU answers.
bool cuda_is_available();
/// Why cuda_is_available() is false, or why other GPUs of the machine cannot be used; empty when all can.
std::string cuda_unavailable_reason();

struct MemoryStatistics {
  std::size_t live = 0;                ///< bytes in arrays now
  std::size_t peak = 0;                ///< highest `live` so far
  std::size_t cached = 0;              ///< bytes held for reuse
  std::size_t reserved = 0;            ///< live and cached, as taken from the system
  std::size_t system_allocations = 0;  ///< calls that asked the system for memory
};

MemoryStatistics memory_statistics(const Device& device);
/// Counts of a device's work since the process began.
struct WorkStatistics {
  std::uint64_t matrix_products = 0;  ///< handed to cuBLASLt, recorded ones counted once; 0 on the CPU
};

/// Throws DeviceError when the device is not available.
WorkStatistics work_statistics(const Device& device);
/// Gives cached memory back to the system.
void release_cached_memory(const Device& device);

}  // namespace weft
