#pragma once

#include <cstdint>

#include "cpu/simd.h"

namespace weft {
struct ConstView;
struct View;
struct BatchNormArguments;
}  // namespace weft

namespace weft::cpu {

void batch_norm(const ConstView& x, const ConstView& weight, const ConstView& bias, const BatchNormArguments& arguments,
                const View& y, const View& mean, const View& inverse_std, const View& running_mean,
                const View& running_var);

void batch_norm_inference(const ConstView& x, const ConstView& weight, const ConstView& bias,
                          const ConstView& running_mean, const ConstView& running_var,
                          const BatchNormArguments& arguments, const View& y);

void batch_norm_grad(const ConstView& y_grad, const ConstView& x, const ConstView& y, const ConstView& weight,
                     const ConstView& mean, const ConstView& inverse_std, const BatchNormArguments& arguments,
                     const View& x_grad, const View& weight_grad, const View& bias_grad);

/// Kernels on dense (rows, width) blocks; vectors are (width,). Where y is given, y_grad counts only where y > 0; y may
/// be null.
template <class T>
struct NormKernelsOf {
  /// Adds each column's differences from the first row, and their squares. As that row is in the sample, the squares
  /// exceed the centred ones by a factor of rows + 1 at most, whatever the mean.
  void (*moments)(std::int64_t rows, std::int64_t width, const T* x, T* sum, T* squares);
  /// y = x·scale + shift, or 0 where that is negative and relu.
  void (*apply)(std::int64_t rows, std::int64_t width, const T* x, const T* scale, const T* shift, bool relu, T* y);
  /// Adds each column's y_grad, and y_grad·(x - mean).
  void (*grad_sums)(std::int64_t rows, std::int64_t width, const T* y_grad, const T* x, const T* y, const T* mean,
                    T* sum, T* product);
  /// x_grad = y_grad·a + ((x - mean)·b + c).
  void (*grad_apply)(std::int64_t rows, std::int64_t width, const T* y_grad, const T* x, const T* y, const T* mean,
                     const T* a, const T* b, const T* c, T* x_grad);
};

struct NormKernels {
  std::int64_t vector_bytes;
  NormKernelsOf<float> f32;
  NormKernelsOf<double> f64;
};
WEFT_SIMD_DECLARE(NormKernels, norm_kernels)

}  // namespace weft::cpu
