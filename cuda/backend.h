#pragma once

#include <string>

#include "core/backend.h"

namespace weft::cuda {

/// GPUs that can be used; 0 without a driver or a GPU, or when the driver is too old.
int device_count();
/// Why device_count() is 0; empty when it is not.
std::string unavailable_reason();
/// Throws DeviceError when the device is not there.
Backend& backend(int index);
/// One line: name, compute capability, memory, driver and runtime version. Throws DeviceError when the device is not
/// there.
std::string description(int index);

}  // namespace weft::cuda
