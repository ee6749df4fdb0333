#pragma once

#include "core/backend.h"

namespace weft::cpu {

/// Backend::conv: im2col in tiles of rows, then GEMM. The same bits for any number of threads.
void conv(ConvPass pass, const ConvShape& shape, const ConstView& a, const ConstView& b, const ConstView* bias,
          const View& out);

}  // namespace weft::cpu
