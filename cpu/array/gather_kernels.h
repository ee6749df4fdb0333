#pragma once

#include "cpu/array/tile.h"
#include "cpu/runtime/simd.h"

namespace weft::cpu {

/// Loops over {out, in}. An index of 4 is the element's size: 1, 2, 4 or 8 bytes.
struct GatherKernels {
  TileLoop copy[4];
  /// out.stride[0] and in.row_stride are 1 and out differs from in: out[r, i] = in[i, r] where rows of out are
  /// row_stride[0] apart and those of in stride[1] apart.
  TileLoop transpose[4];
  TileLoop convert[kDTypes][kDTypes];  ///< [from][to]
};
WEFT_SIMD_DECLARE(GatherKernels, gather_kernels)

}  // namespace weft::cpu
