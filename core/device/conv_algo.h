#pragma once

#include <string_view>

#include "core/device/backend.h"

// Which algorithms a convolution has. The rules are those of its sizes, the same on every device.
namespace weft {

/// One input channel for each filter.
bool is_depthwise(const ConvShape& shape);
/// 1x1 with stride 1 and no padding: y's rows are x's rows times the weight.
bool is_one_by_one(const ConvShape& shape);
bool fits_winograd(const ConvShape& shape);
bool applies(ConvAlgo algo, const ConvShape& shape, DType dtype);

/// Throws ValueError where shape.algo does not apply: "conv2d: algo winograd needs stride 1, got (2, 1)".
void check_algo(std::string_view op, int axes, const ConvShape& shape, DType dtype);

}  // namespace weft
