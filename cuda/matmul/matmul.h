#pragma once

#include "core/device/backend.h"
#include "cuda/runtime/context.h"

namespace weft::cuda {

/// Backend::matmul: floating dtypes by cuBLASLt, integers by a tiled kernel.
void matmul(Context& context, const ConstView& a, const ConstView& b, const View& out);

}  // namespace weft::cuda
