#pragma once

#include "core/device/scalar_ops.h"
#include "cpu/array/tile.h"
#include "cpu/runtime/simd.h"

namespace weft::cpu {

inline constexpr int kUnaryOps = static_cast<int>(UnaryOp::count);
inline constexpr int kBinaryOps = static_cast<int>(BinaryOp::count);

/// Loops per op and dtype of the operands; null where the op does not take the dtype.
struct ElementwiseKernels {
  TileLoop unary[kUnaryOps][kDTypes];    ///< out, x
  TileLoop binary[kBinaryOps][kDTypes];  ///< out, a, b
  TileLoop where[4];                     ///< out, condition, a, b; elements of 1, 2, 4 and 8 bytes
};
WEFT_SIMD_DECLARE(ElementwiseKernels, elementwise_kernels)

}  // namespace weft::cpu
