#include "cuda/runtime/devices.h"

namespace weft::cuda {

UsableGpus usable_gpus(std::span<const Gpu> gpus) {
  UsableGpus usable;
  for (std::size_t i = 0; i < gpus.size(); ++i) {
    const Gpu& gpu = gpus[i];
    if (gpu.major >= kLowestMajor) {
      usable.numbers.push_back(static_cast<int>(i));
      continue;
    }
    if (!usable.reason.empty()) usable.reason += "; ";
    usable.reason += gpu.name + " (CUDA's device " + std::to_string(i) + ") has compute capability " +
                     std::to_string(gpu.major) + "." + std::to_string(gpu.minor) + ", weft needs " +
                     std::to_string(kLowestMajor) + ".0 or more";
  }
  return usable;
}

}  // namespace weft::cuda
