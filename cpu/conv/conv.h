#pragma once

#include "core/device/backend.h"

namespace weft::cpu {

/// Backend::conv, the same bits for any number of threads. im2col gathers columns a panel at a time, into the
/// first-level cache, on their way into the product; taps that read padding are left out.
void conv(ConvPass pass, const ConvShape& shape, const ConstView& a, const ConstView& b, const ConstView* bias,
          const View& out, const View* bias_grad);
/// Backend::conv_algo.
ConvAlgo conv_algo(ConvPass pass, const ConvShape& shape, DType dtype);

}  // namespace weft::cpu
