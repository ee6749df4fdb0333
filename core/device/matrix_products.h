#pragma once

#include <cstdint>

#include "weft/device.h"

namespace weft {

/// Matrix products that the device's work has handed to cuBLASLt so far, those recorded counted once; 0 on the CPU.
/// Throws DeviceError when the device is not available.
std::uint64_t matrix_products(const Device& device);

}  // namespace weft
