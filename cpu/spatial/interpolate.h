#pragma once

#include <cstdint>

#include "cpu/array/sum_plan.h"
#include "cpu/runtime/simd.h"

namespace weft::cpu {

/// Source positions along one axis and their weights, the first of which is begin's. There may be none.
template <class T>
struct WeightedRange {
  std::int64_t begin, end;
  const T* weights;
};

/// One row of destination pixels, and the boxes of source pixels each depends on: depth x height x columns[i].
template <class T>
struct InterpolateRow {
  std::int64_t channels, pixels;
  std::int64_t source_height, source_width;
  WeightedRange<T> depth, height;
  const WeightedRange<T>* columns;
  SumPlan plan = {};  // for the boxes of all rows
};

/// Kernels on one row; `source` is the image (depth, height, width, channels), `out` the row (pixels, channels).
struct InterpolateKernels {
  /// The sums of the boxes, each element times the weights of its three positions.
  void (*f32)(const InterpolateRow<float>& row, const float* source, float* out);
  void (*f64)(const InterpolateRow<double>& row, const double* source, double* out);
};
WEFT_SIMD_DECLARE(InterpolateKernels, interpolate_kernels)

}  // namespace weft::cpu
