#pragma once

#include "core/device/backend.h"
#include "cuda/runtime/context.h"

namespace weft::cuda {

/// Backend::conv. By im2col, columns of each pass (core/device/conv_plan.h) are gathered chunk by chunk and multiplied
/// by cuBLASLt; the other algorithms are in files of their names.
void conv(Context& context, ConvPass pass, const ConvShape& shape, const ConstView& a, const ConstView& b,
          const ConstView* bias, const View& out, const View* bias_grad);
/// Backend::conv_algo.
ConvAlgo conv_algo(ConvPass pass, const ConvShape& shape, DType dtype);

}  // namespace weft::cuda
