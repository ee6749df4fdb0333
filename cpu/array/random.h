#pragma once

#include "core/device/backend.h"

namespace weft::cpu {

/// See Backend. uniform and normal: f32 and f64; integer: u8, i32 and i64; else DTypeError. core/device/philox.h has
/// the formulas.
void random(RandomKind kind, const PhiloxKey& key, Scalar low, Scalar high, const View& out);

}  // namespace weft::cpu
