#pragma once

#include <cstdint>

#include "weft/pool_options.h"
#include "weft/tensor.h"

/// Pooling over the last N = 1, 2 or 3 axes, as in PyTorch: x (N, C, L), (N, C, H, W) or (N, C, D, H, W) -> (N, C, P),
/// (N, C, P, Q) or (N, C, O, P, Q), P = (L + 2·padding - dilation·(kernel - 1) - 1) / stride + 1, rounded down, or up
/// with ceil_mode, and alike on the other axes. An x without N gives a result, and indices, without N. All throw
/// ValueError on an option and ShapeError on a size that is out of range, and where the result would be empty.
/// weft/ops.h has the legend of the letters.
namespace weft {

/// The largest element of each window. Padding counts as -infinity; NaN wins; the first largest element takes the
/// gradient. A window without an element, which dilation and padding can make, gives -infinity and the index -1.
template <int N>
Tensor max_pool(const Tensor& x, PerAxis<N> kernel, const MaxPoolOptions<N>& options = {});
inline Tensor max_pool1d(const Tensor& x, PerAxis<1> kernel, const MaxPool1dOptions& options = {}) {
  return max_pool<1>(x, kernel, options);
}
inline Tensor max_pool2d(const Tensor& x, PerAxis<2> kernel, const MaxPool2dOptions& options = {}) {
  return max_pool<2>(x, kernel, options);
}
inline Tensor max_pool3d(const Tensor& x, PerAxis<3> kernel, const MaxPool3dOptions& options = {}) {
  return max_pool<3>(x, kernel, options);
}
template <int N>
MaxPoolResult max_pool_with_indices(const Tensor& x, PerAxis<N> kernel, const MaxPoolOptions<N>& options = {});
inline MaxPoolResult max_pool1d_with_indices(const Tensor& x, PerAxis<1> kernel, const MaxPool1dOptions& options = {}) {
  return max_pool_with_indices<1>(x, kernel, options);
}
inline MaxPoolResult max_pool2d_with_indices(const Tensor& x, PerAxis<2> kernel, const MaxPool2dOptions& options = {}) {
  return max_pool_with_indices<2>(x, kernel, options);
}
inline MaxPoolResult max_pool3d_with_indices(const Tensor& x, PerAxis<3> kernel, const MaxPool3dOptions& options = {}) {
  return max_pool_with_indices<3>(x, kernel, options);
}

/// The inverse of max_pool: x (N, C, P) with each element at its index (i64, shaped like x) in its image of the result
/// (N, C, L), and zeros elsewhere. output_size is less than a stride away from its default (P - 1)·stride - 2·padding +
/// kernel, for which 0 stands. Where indices are equal, the last one in row-major order wins and takes the gradient; an
/// element whose index is outside is left out. Both hold on every device.
template <int N>
Tensor max_unpool(const Tensor& x, const Tensor& indices, PerAxis<N> kernel, const MaxUnpoolOptions<N>& options = {},
                  PerAxis<N> output_size = 0);
inline Tensor max_unpool1d(const Tensor& x, const Tensor& indices, PerAxis<1> kernel,
                           const MaxUnpool1dOptions& options = {}, PerAxis<1> output_size = 0) {
  return max_unpool<1>(x, indices, kernel, options, output_size);
}
inline Tensor max_unpool2d(const Tensor& x, const Tensor& indices, PerAxis<2> kernel,
                           const MaxUnpool2dOptions& options = {}, PerAxis<2> output_size = 0) {
  return max_unpool<2>(x, indices, kernel, options, output_size);
}
inline Tensor max_unpool3d(const Tensor& x, const Tensor& indices, PerAxis<3> kernel,
                           const MaxUnpool3dOptions& options = {}, PerAxis<3> output_size = 0) {
  return max_unpool<3>(x, indices, kernel, options, output_size);
}

/// The mean of each window. Padding counts as zeros. The divisor is divisor_override, or the number of a window's
/// positions in the padded input, or without count_include_pad in the input. Without a position to count it gives 0.
template <int N>
Tensor avg_pool(const Tensor& x, PerAxis<N> kernel, const AvgPoolOptions<N>& options = {});
inline Tensor avg_pool1d(const Tensor& x, PerAxis<1> kernel, const AvgPool1dOptions& options = {}) {
  return avg_pool<1>(x, kernel, options);
}
inline Tensor avg_pool2d(const Tensor& x, PerAxis<2> kernel, const AvgPool2dOptions& options = {}) {
  return avg_pool<2>(x, kernel, options);
}
inline Tensor avg_pool3d(const Tensor& x, PerAxis<3> kernel, const AvgPool3dOptions& options = {}) {
  return avg_pool<3>(x, kernel, options);
}

/// (Σ xᵖ)^(1/p) over each window, p = norm, without a modulus: an odd p needs x that are not negative. With ceil_mode
/// the sum of a window that is cut off is scaled up to the whole kernel, as in PyTorch. The gradient is 0 where the sum
/// is 0, unless p is 1. Throws ValueError unless p is positive and finite.
template <int N>
Tensor lp_pool(const Tensor& x, double norm, PerAxis<N> kernel, const LPPoolOptions<N>& options = {});
inline Tensor lp_pool1d(const Tensor& x, double norm, PerAxis<1> kernel, const LPPool1dOptions& options = {}) {
  return lp_pool<1>(x, norm, kernel, options);
}
inline Tensor lp_pool2d(const Tensor& x, double norm, PerAxis<2> kernel, const LPPool2dOptions& options = {}) {
  return lp_pool<2>(x, norm, kernel, options);
}
inline Tensor lp_pool3d(const Tensor& x, double norm, PerAxis<3> kernel, const LPPool3dOptions& options = {}) {
  return lp_pool<3>(x, norm, kernel, options);
}

/// The mean of the windows that cut an axis of size L into output_size: element i is that of the window from
/// ⌊i·L/output_size⌋ to ⌈(i + 1)·L/output_size⌉.
template <int N>
Tensor adaptive_avg_pool(const Tensor& x, PerAxis<N> output_size);
inline Tensor adaptive_avg_pool1d(const Tensor& x, PerAxis<1> output_size) {
  return adaptive_avg_pool<1>(x, output_size);
}
inline Tensor adaptive_avg_pool2d(const Tensor& x, PerAxis<2> output_size) {
  return adaptive_avg_pool<2>(x, output_size);
}
inline Tensor adaptive_avg_pool3d(const Tensor& x, PerAxis<3> output_size) {
  return adaptive_avg_pool<3>(x, output_size);
}
/// The largest element of each of these windows.
template <int N>
Tensor adaptive_max_pool(const Tensor& x, PerAxis<N> output_size);
inline Tensor adaptive_max_pool1d(const Tensor& x, PerAxis<1> output_size) {
  return adaptive_max_pool<1>(x, output_size);
}
inline Tensor adaptive_max_pool2d(const Tensor& x, PerAxis<2> output_size) {
  return adaptive_max_pool<2>(x, output_size);
}
inline Tensor adaptive_max_pool3d(const Tensor& x, PerAxis<3> output_size) {
  return adaptive_max_pool<3>(x, output_size);
}
template <int N>
MaxPoolResult adaptive_max_pool_with_indices(const Tensor& x, PerAxis<N> output_size);
inline MaxPoolResult adaptive_max_pool1d_with_indices(const Tensor& x, PerAxis<1> output_size) {
  return adaptive_max_pool_with_indices<1>(x, output_size);
}
inline MaxPoolResult adaptive_max_pool2d_with_indices(const Tensor& x, PerAxis<2> output_size) {
  return adaptive_max_pool_with_indices<2>(x, output_size);
}
inline MaxPoolResult adaptive_max_pool3d_with_indices(const Tensor& x, PerAxis<3> output_size) {
  return adaptive_max_pool_with_indices<3>(x, output_size);
}

/// Over all of one to three spatial axes, which keep size 1. The rank of x, which always has N, tells their number.
Tensor global_avg_pool(const Tensor& x);
Tensor global_max_pool(const Tensor& x);
/// (N, C, H, W) -> (N, C, 1, 1), or (C, H, W) -> (C, 1, 1).
Tensor global_avg_pool2d(const Tensor& x);
Tensor global_max_pool2d(const Tensor& x);

}  // namespace weft
