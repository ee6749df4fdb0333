#pragma once

#include <cstdint>

#include "cpu/runtime/simd.h"

namespace weft::cpu {

/// Rows of n elements; sums are taken in double.
template <class T>
struct LossKernelsOf {
  /// n >= 1. A row of -inf, or one with NaN or +inf, gives NaN.
  void (*softmax)(bool log, std::int64_t n, const T* x, T* y);
  void (*softmax_grad)(bool log, std::int64_t n, const T* y, const T* y_grad, T* x_grad);
  /// (1 - s)·(lse - z_label) + s·(lse - mean(z)), PyTorch's smoothing; NaN where the label is none of the n.
  double (*cross_entropy)(std::int64_t n, const T* z, std::int64_t label, double smoothing);
  void (*cross_entropy_grad)(std::int64_t n, const T* z, std::int64_t label, double smoothing, double loss_grad,
                             T* z_grad);
};

struct LossKernels {
  LossKernelsOf<float> f32;
  LossKernelsOf<double> f64;
};
WEFT_SIMD_DECLARE(LossKernels, loss_kernels)

}  // namespace weft::cpu
