#pragma once

#include <cstdint>

#include "cpu/simd.h"

namespace weft {
struct ConstView;
struct View;
struct BatchNormArguments;
}  // namespace weft

namespace weft::cpu {

void batch_norm(const ConstView& x, const ConstView& weight, const ConstView& bias, const ConstView& residual,
                const BatchNormArguments& arguments, const View& y, const View& mean, const View& inverse_std,
                const View& scale, const View& shift, const View& running_mean, const View& running_var,
                const View& batches);

void batch_norm_inference(const ConstView& x, const ConstView& weight, const ConstView& bias,
                          const ConstView& running_mean, const ConstView& running_var, const ConstView& residual,
                          const BatchNormArguments& arguments, const View& y);

void batch_norm_grad(const ConstView& y_grad, const ConstView& x, const ConstView& mean, const ConstView& inverse_std,
                     const ConstView& scale, const ConstView& shift, const BatchNormArguments& arguments,
                     const View& x_grad, const View& weight_grad, const View& bias_grad);

/// Kernels on dense (rows, width) blocks; the other vectors are (width,). residual and shift may be null.
template <class T>
struct NormKernelsOf {
  /// Adds each column's differences from the first row, and their squares. As that row is in the sample, the squares
  /// exceed the centred ones by a factor of rows + 1 at most, whatever the mean.
  void (*moments)(std::int64_t rows, std::int64_t width, const T* x, T* sum, T* squares);
  /// y = x·scale + shift, or 0 where that is negative and relu; then plus residual (rows, width).
  void (*apply)(std::int64_t rows, std::int64_t width, const T* x, const T* scale, const T* shift, const T* residual,
                bool relu, T* y);
  // Where shift is given, y_grad counts only where apply's x·scale + shift > 0.
  /// Adds each column's y_grad, and y_grad·(x - mean).
  void (*grad_sums)(std::int64_t rows, std::int64_t width, const T* y_grad, const T* x, const T* scale, const T* shift,
                    const T* mean, T* sum, T* product);
  /// x_grad = y_grad·scale + ((x - mean)·b + c).
  void (*grad_apply)(std::int64_t rows, std::int64_t width, const T* y_grad, const T* x, const T* scale, const T* shift,
                     const T* mean, const T* b, const T* c, T* x_grad);
};

struct NormKernels {
  std::int64_t vector_bytes;
  NormKernelsOf<float> f32;
  NormKernelsOf<double> f64;
};
WEFT_SIMD_DECLARE(NormKernels, norm_kernels)

}  // namespace weft::cpu
