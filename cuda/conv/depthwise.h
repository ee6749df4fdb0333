#pragma once

#include "core/device/backend.h"
#include "cuda/runtime/context.h"

namespace weft::cuda {

/// As Backend::conv where groups == c and k is a multiple of it, directly, with the context's lock held and its device
/// current. f32, f64, bf16 (sums in f32).
void depthwise(Context& context, ConvPass pass, const ConvShape& shape, const ConstView& a, const ConstView& b,
               const ConstView* bias, const View& out);

}  // namespace weft::cuda
