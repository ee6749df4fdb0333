#pragma once

#include <cstdint>

#include "cpu/array/sum_plan.h"
#include "cpu/runtime/simd.h"

namespace weft::cpu {

struct PoolRange {
  std::int64_t begin, end;
};

/// One row of destination pixels, and the boxes of source pixels each depends on: depth x height x columns[i]. Forward,
/// the destination is y and the box its window in x; backward, it is x and the box holds the y whose windows have it
/// (and more, with dilation).
struct PoolRow {
  std::int64_t channels;
  std::int64_t pixels;
  std::int64_t position;  // of the row's first pixel, flat, in the destination's image
  std::int64_t source_height, source_width;
  PoolRange depth, height;
  const PoolRange* columns;
  // A range of a step above 1 ends after its last element.
  std::int64_t depth_step = 1, height_step = 1, column_step = 1;
  SumPlan plan = {};  // for the boxes of all rows
};

/// The factors of the number that a window divides its sum by, for each place of y along each axis.
struct PoolCounts {
  const std::int64_t *depth, *height, *column;
};

/// Kernels on one row; `source` is the image (depth, height, width, channels), `out` the row
/// (pixels, channels).
template <class T>
struct PoolKernelsOf {
  /// The largest of each box, which is not empty, and its flat position; the first of equals, and NaN, win.
  void (*largest)(const PoolRow& row, const T* source, T* out, std::int32_t* indices);
  /// out = factor·(sum of the box). Steps are 1 here and below.
  void (*sum)(const PoolRow& row, const T* source, double factor, T* out);
  /// The sum of the box's elements, each divided by its count.
  void (*shares)(const PoolRow& row, const T* source, const PoolCounts& counts, T* out);
  /// The sum of those elements of the box whose index is the destination pixel's position.
  void (*matching)(const PoolRow& row, const T* source, const std::int32_t* indices, T* out);
};

struct PoolKernels {
  PoolKernelsOf<float> f32;
  PoolKernelsOf<double> f64;
};
WEFT_SIMD_DECLARE(PoolKernels, pool_kernels)

}  // namespace weft::cpu
