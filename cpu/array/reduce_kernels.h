#pragma once

#include "cpu/array/tile.h"
#include "cpu/runtime/simd.h"

namespace weft::cpu {

struct ReduceLoops {
  TileLoop rows, columns;
};

/// Loops over {out, x}, per op (ReduceOp's order; ArgReduceOp's) and dtype; null where the op does not take the dtype.
struct ReduceKernels {
  TileLoop rows[3][kDTypes];         ///< out[r] = op over i of x[r, i]; out's stride is row_stride[0]
  TileLoop columns[3][kDTypes];      ///< out[i] = op over r of x[r, i]; out's stride is stride[0]
  TileLoop arg_rows[2][kDTypes];     ///< as rows, the first index of the extreme, out i64
  TileLoop arg_columns[2][kDTypes];  ///< as columns
  ReduceLoops first_sums;            ///< of f32 into f64, for partial sums
  ReduceLoops last_sums;             ///< of such sums into f32
};
WEFT_SIMD_DECLARE(ReduceKernels, reduce_kernels)

}  // namespace weft::cpu
