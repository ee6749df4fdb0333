#pragma once

#include "core/device/backend.h"
#include "cuda/runtime/context.h"

namespace weft::cuda {

/// As Backend::pool, with the context's lock held and its device current. f32, f64, bf16.
void pool(Context& context, PoolPass pass, const PoolShape& shape, const ConstView& in, const View& indices,
          const View& out);
/// Averages with divisor 0.
void pool_uneven_average(Context& context, PoolPass pass, const PoolShape& shape, const ConstView& in, const View& out);

}  // namespace weft::cuda
