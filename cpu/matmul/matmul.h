#pragma once

#include "core/device/backend.h"

namespace weft::cpu {

/// Backend::matmul. Operands whose rows or columns are dense go to gemm as they are; others are copied, one matrix at a
/// time.
void matmul(const ConstView& a, const ConstView& b, const View& out);

}  // namespace weft::cpu
