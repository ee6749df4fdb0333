#pragma once

#include <span>
#include <string>
#include <vector>

namespace weft::cuda {

/// The lowest compute capability that this code is compiled for: 8.0, the A100's.
inline constexpr int kLowestMajor = 8;

/// A GPU that the driver reports.
struct Gpu {
  std::string name;
  int major = 0, minor = 0;  ///< compute capability
};

struct UsableGpus {
  std::vector<int> numbers;  ///< CUDA's numbers of the GPUs that can run the kernels, ascending
  std::string reason;        ///< why the others cannot: their names and compute capabilities; empty without others
};

/// The GPUs of compute capability 8.0 or more among those that CUDA numbers 0, 1, ...
UsableGpus usable_gpus(std::span<const Gpu> gpus);

}  // namespace weft::cuda
