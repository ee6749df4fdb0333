#pragma once

#include <nlohmann/json.hpp>

#include "weft/device.h"

namespace weft {

/// What a device gives, to hold other figures against: seconds from here to the end of its first kernel and of its
/// first matrix product, GB/s of a copy on the device (bytes read and written), TFLOP/s of a product of random n x n
/// matrices. On a GPU the copy is 1 GiB and the product bf16 with n = 8,192; on the CPU 64 MiB, and f32 with n = 1,024.
nlohmann::ordered_json device_figures(const Device& device);

}  // namespace weft
