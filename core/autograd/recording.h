#pragma once

#include <cstdint>

#include "weft/device.h"

namespace weft {

/// While a step is recorded: its random numbers start at *base, a count of Philox blocks on the device that stands for
/// offset `start` of the default generator.
struct RandomCapture {
  Device device;
  const std::uint64_t* base;
  std::uint64_t start;
};

/// Null when this thread records nothing.
const RandomCapture* random_capture();

}  // namespace weft
