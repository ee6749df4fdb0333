#pragma once

#include <functional>

#include "core/device/backend.h"

namespace weft {

/// Returns the algorithm that timing has chosen for a pass of `automatic`, or chooses it now. run(shape) computes the
/// pass with shape.algo and, where shape.timed is set, within the promise of `automatic`. While a step is recorded new
/// work gets the table's choice, `automatic`.
ConvAlgo timed_algo(ConvPass pass, const ConvShape& shape, DType dtype, const Device& device,
                    const std::function<void(const ConvShape&)>& run);

}  // namespace weft
