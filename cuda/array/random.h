#pragma once

#include "core/device/backend.h"
#include "cuda/runtime/context.h"

namespace weft::cuda {

/// As Backend::random, with the context's lock held and its device current. uniform and normal: f32, f64; integer: u8,
/// i32, i64.
void random(Context& context, RandomKind kind, const PhiloxKey& key, Scalar low, Scalar high, const View& out);

}  // namespace weft::cuda
