#pragma once

#include <array>
#include <cstdint>

#include "weft/conv_options.h"
#include "weft/tensor.h"

/// Convolution, its gradients and its columns. Convolution is cross-correlation, as in PyTorch. weft/ops.h has the
/// legend of the letters.
namespace weft {

/// Convolution over N = 1, 2 or 3 spatial axes: x (N, C, L), (N, C, H, W) or (N, C, D, H, W), weight (K, C/groups, R),
/// (K, C/groups, R, S) or (K, C/groups, T, R, S), bias (K,) or undefined -> (N, K, P), (N, K, P, Q) or (N, K, O, P, Q),
/// P = (L + padding before and after - dilation·(R - 1) - 1) / stride + 1, rounded down, and alike on the other axes.
/// An x without N gives a y without N. Throws ValueError on an option and ShapeError on a size that is out of range, on
/// groups that do not divide C and K, and where the result would be empty.
template <int N>
Tensor conv(const Tensor& x, const Tensor& weight, const Tensor& bias = {}, const ConvOptions<N>& options = {});
inline Tensor conv1d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                     const Conv1dOptions& options = {}) {
  return conv<1>(x, weight, bias, options);
}
inline Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                     const Conv2dOptions& options = {}) {
  return conv<2>(x, weight, bias, options);
}
inline Tensor conv3d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                     const Conv3dOptions& options = {}) {
  return conv<3>(x, weight, bias, options);
}

/// The gradient of conv2d with respect to its input of shape (N, C, H, W), given the output's gradient (N, K, P, Q).
/// Throws ValueError on a padding mode other than constant.
Tensor conv2d_input_grad(const Tensor& output_grad, const Tensor& weight, const Shape& input_shape,
                         const Conv2dOptions& options = {});
/// The gradient of conv2d with respect to its weight of shape (K, C/groups, R, S). Throws ValueError on a padding mode
/// other than constant.
Tensor conv2d_weight_grad(const Tensor& output_grad, const Tensor& x, const Shape& weight_shape,
                          const Conv2dOptions& options = {});

/// Transposed convolution, the gradient of conv<N> with respect to its input: x (N, C, L), (N, C, H, W) or (N, C, D, H,
/// W), weight (C, K/groups, R), (C, K/groups, R, S) or (C, K/groups, T, R, S), bias (K,) or undefined -> (N, K, P),
/// (N, K, P, Q) or (N, K, O, P, Q), P = (L - 1)·stride - padding before and after + dilation·(R - 1) + output_padding +
/// 1, and alike on the other axes. An x without N gives a y without N. Throws as conv, also ValueError on
/// PaddingRule::same and on output padding beyond both stride and dilation.
template <int N>
Tensor conv_transpose(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                      const ConvTransposeOptions<N>& options = {});
inline Tensor conv_transpose1d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                               const ConvTranspose1dOptions& options = {}) {
  return conv_transpose<1>(x, weight, bias, options);
}
inline Tensor conv_transpose2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                               const ConvTranspose2dOptions& options = {}) {
  return conv_transpose<2>(x, weight, bias, options);
}
inline Tensor conv_transpose3d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                               const ConvTranspose3dOptions& options = {}) {
  return conv_transpose<3>(x, weight, bias, options);
}

/// The windows of x (N, C, H, W), one dense row per output position of a convolution: (N·P·Q, C·R·S), or (N·P·Q,
/// R·S·C). `kernel` (R, S) has one entry per spatial axis of x (one to three), or a single entry for all axes. Throws
/// ValueError and ShapeError as conv.
Tensor im2col(const Tensor& x, const Dims& kernel, const WindowOptions& options = {},
              ColumnOrder order = ColumnOrder::crs);
/// The adjoint of im2col for x of shape (N, C, H, W): adds each row's elements up where they came from.
Tensor col2im(const Tensor& columns, const Shape& input_shape, const Dims& kernel, const WindowOptions& options = {},
              ColumnOrder order = ColumnOrder::crs);
/// im2col as PyTorch has it: x (N, C, H, W) -> (N, C·R·S, P·Q).
Tensor unfold(const Tensor& x, const Dims& kernel, const WindowOptions& options = {});
/// The adjoint of unfold: columns (N, C·R·S, P·Q) -> (N, C, H, W) with output_size (H, W).
Tensor fold(const Tensor& columns, const Shape& output_size, const Dims& kernel, const WindowOptions& options = {});

/// The same functions composed of the other ops, as the definition to read and to test against (groups = 1; several
/// times slower).
namespace composed {
/// The strided window view of x (N, C, H, W), copied dense: (N·P·Q, C·R·S), one row per output position.
Tensor im2col(const Tensor& x, std::array<std::int64_t, 2> kernel, std::array<std::int64_t, 2> stride = {1, 1},
              std::array<std::int64_t, 2> dilation = {1, 1});
/// Pad, im2col, matmul.
Tensor conv2d(const Tensor& x, const Tensor& weight, const Conv2dOptions& options = {});
/// Dilate the output's gradient by stride - 1, append the remainder's zeros, flip the filter, swap its channels,
/// convolve with padding K - 1 - P.
Tensor conv2d_input_grad(const Tensor& output_grad, const Tensor& weight, const Shape& input_shape,
                         const Conv2dOptions& options = {});
/// Swap batch and channels of the input and of the dilated gradient, convolve with padding P, swap back.
Tensor conv2d_weight_grad(const Tensor& output_grad, const Tensor& x, const Shape& weight_shape,
                          const Conv2dOptions& options = {});
}  // namespace composed

}  // namespace weft
