#pragma once

#include <cstdint>

#include "cpu/runtime/simd.h"

namespace weft::cpu {

/// Kernels on dense (rows, width) blocks; the other vectors are (width,). residual and shift may be null. Sums are
/// chains of at most 16 additions of T, which are added in double to what the vectors hold; `partial` is room for (2,
/// width).
template <class T>
struct NormKernelsOf {
  /// Writes each column's origin, the median of its first, middle and last value, and adds the differences from it and
  /// their squares. The origin is in the sample, and one outlier is not chosen, so the squares exceed the centred ones
  /// by a small factor, whatever the mean.
  void (*moments)(std::int64_t rows, std::int64_t width, const T* x, T* origin, T* partial, double* sum,
                  double* squares);
  /// y = (x - mean)·scale + shift, or 0 where that is negative and relu; then plus residual (rows, width).
  void (*apply)(std::int64_t rows, std::int64_t width, const T* x, const T* mean, const T* scale, const T* shift,
                const T* residual, bool relu, T* y);
  // Where shift is given, y_grad counts only where apply's (x - mean)·scale + shift > 0.
  /// Adds each column's y_grad, and y_grad·(x - mean).
  void (*grad_sums)(std::int64_t rows, std::int64_t width, const T* y_grad, const T* x, const T* mean, const T* scale,
                    const T* shift, T* partial, double* sum, double* product);
  /// x_grad = scale·(y_grad + c + (x - mean)·b).
  void (*grad_apply)(std::int64_t rows, std::int64_t width, const T* y_grad, const T* x, const T* mean, const T* scale,
                     const T* shift, const T* b, const T* c, T* x_grad);

  // The same of dense (rows, n), n > 0, where each row is a channel; the other vectors are (rows,).
  /// Writes each row's origin, its mean in T or near it, and the sums of the differences from it and of their squares.
  /// The origin of equal values is their value.
  void (*row_moments)(std::int64_t rows, std::int64_t n, const T* x, T* origin, double* sum, double* squares);
  void (*row_apply)(std::int64_t rows, std::int64_t n, const T* x, const T* mean, const T* scale, const T* shift, T* y);
  /// Writes each row's sums.
  void (*row_grad_sums)(std::int64_t rows, std::int64_t n, const T* y_grad, const T* x, const T* mean, double* sum,
                        double* product);
  void (*row_grad_apply)(std::int64_t rows, std::int64_t n, const T* y_grad, const T* x, const T* mean, const T* scale,
                         const T* b, const T* c, T* x_grad);
};

struct NormKernels {
  std::int64_t vector_bytes;
  NormKernelsOf<float> f32;
  NormKernelsOf<double> f64;
};
WEFT_SIMD_DECLARE(NormKernels, norm_kernels)

}  // namespace weft::cpu
