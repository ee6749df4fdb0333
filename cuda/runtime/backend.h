#pragma once

#include <string>

#include "core/device/backend.h"

namespace weft::cuda {

/// GPUs that can be used; 0 without a driver or a GPU, or when the driver is too old.
int device_count();
/// Why device_count() is 0; empty when it is not.
std::string unavailable_reason();
/// Throws DeviceError when the device is not available.
Backend& backend(int index);
/// The count of weft::matrix_products.
std::uint64_t matrix_products(int index);
/// One line: name, compute capability, memory, versions of the driver, the runtime and cuBLASLt. Throws DeviceError
/// when the device is not available.
std::string description(int index);

}  // namespace weft::cuda
