#pragma once

#include "core/device/backend.h"

namespace weft::cpu {

/// out is filled with `value`, converted as by copy.
void fill(const View& out, Scalar value);
/// The strided gather; see Backend::copy. To bool is "is not zero"; floats become integers by truncation, saturating at
/// the ends with NaN as 0; integers wrap.
void copy(const ConstView& in, const View& out);

}  // namespace weft::cpu
