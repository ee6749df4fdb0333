#pragma once

#include "core/device/backend.h"
#include "cuda/runtime/context.h"

namespace weft::cuda {

/// ConvAlgo::implicit_gemm: the product with columns that are gathered into shared memory as they are multiplied, one
/// launch for a pass of up to 8 phases (an input gradient of stride 3 has 9). f32 in fused multiply-adds or by
/// weft::precision(), bf16 on tensor cores with sums in f32.
void implicit_gemm(Context& context, ConvPass pass, const ConvShape& shape, const ConstView& a, const ConstView& b,
                   const ConstView* bias, const View& out, const View* bias_grad);

/// Its weight gradient, and the sum of y's gradient over images and positions unless bias_grad is null.
void implicit_weight_grad(Context& context, const ConvShape& shape, const ConstView& y_grad, const ConstView& x,
                          const View& out, const View* bias_grad);

}  // namespace weft::cuda
