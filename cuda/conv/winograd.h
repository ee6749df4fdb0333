#pragma once

#include "core/device/backend.h"
#include "cuda/runtime/context.h"

namespace weft::cuda {

/// A pass of Backend::conv by Winograd's F(tile x tile, 3x3), tile 2 or 4 (core/device/winograd_transform.h), f32 or
/// f64. shape: filter {1, 3, 3}, stride, dilation and groups 1, in[0] and out[0] 1, padding[0] 0; any padding >= 0 on
/// the other axes and any sizes. bias (k,) or null. Where precision() is tf32 the products round, and large tiles
/// magnify that.
void winograd(Context& context, ConvPass pass, int tile, const ConvShape& shape, const ConstView& a, const ConstView& b,
              const ConstView* bias, const View& out);

}  // namespace weft::cuda
